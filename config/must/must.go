// Package must ends a test if an operation of its setup fails.
package must

// A TB is the part of testing.TB that this package needs. So it does not import testing.
type TB interface {
	Helper()
	Fatal(args ...any)
}

// Succeed ends the test if err is not nil.
func Succeed(t TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Get returns a function that returns its first argument, and ends the test if err is not nil:
//
//	digest := must.Get[string](t)(image.Digest())
func Get[T any](t TB) func(value T, err error) T {
	t.Helper()
	return func(value T, err error) T {
		t.Helper()
		Succeed(t, err)
		return value
	}
}
