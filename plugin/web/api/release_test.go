package api

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"
)

func TestI4RefusedBytesAreReleasedExactly(t *testing.T) {
	var b budget
	b.left = [2]int64{3 * smallDelivery, smallDelivery}
	for _, sizes := range [][]int{
		{1}, {smallDelivery}, {2 * smallDelivery}, {4 * smallDelivery, 10}, {10, 10, 10, 10 * smallDelivery},
	} {
		var releases []func()
		for _, size := range sizes {
			r, release := b.read(bytes.NewReader(make([]byte, size)), "a", func() {})
			_, err := io.Copy(io.Discard, r)
			if tooMuch := size > 2*smallDelivery; errors.Is(err, errBusy) != tooMuch {
				t.Errorf("%d bytes of %v: %v", size, sizes, err)
			}
			releases = append(releases, release)
		}
		for _, release := range releases {
			release()
		}
		if want := [2]int64{3 * smallDelivery, smallDelivery}; b.left != want {
			t.Fatalf("bytes of small and large deliveries: got %v, want %v", b.left, want)
		}
		if n := len(b.held) + b.incomplete.Len(); n != 0 {
			t.Fatalf("incomplete deliveries: got %d, want none", n)
		}
	}
}

// A7.2: a delivery takes the place of an incomplete one of a client with more bytes, but not of its own
// client's, nor of a complete one.
func TestA72ADeliveryReplacesAnIncompleteOne(t *testing.T) {
	for name, c := range map[string]struct {
		theirs   string // client of the other deliveries
		complete bool
		age      time.Duration
		want     error
	}{
		"of another client":             {theirs: "b"},
		"of the same client":            {theirs: "a", want: errBusy},
		"complete":                      {theirs: "b", complete: true, want: errBusy},
		"of the same client, and slow":  {theirs: "a", age: slowDelivery, want: errBusy},
		"of another client, and slower": {theirs: "b", age: slowDelivery},
	} {
		t.Run(name, func(t *testing.T) {
			b := budget{left: [2]int64{100, 0}}
			interrupted := ""
			var releases []func()
			for _, id := range []string{"first", "second"} {
				r, release := b.read(slowBody(50, c.complete), c.theirs, func() { interrupted += id })
				releases = append(releases, release)
				r.(*metered).began = time.Now().Add(-c.age)
				if _, err := io.CopyN(io.Discard, r, 50); err != nil {
					t.Fatal(err)
				}
				if c.complete {
					_, _ = r.Read(make([]byte, 1)) // EOF
				}
			}
			r, release := b.read(bytes.NewReader(make([]byte, 30)), "a", func() {})
			_, err := io.Copy(io.Discard, r)
			if !errors.Is(err, c.want) {
				t.Errorf("third delivery: got error %v, want %v", err, c.want)
			}
			if want := map[error]string{nil: "first", errBusy: ""}[c.want]; interrupted != want {
				t.Errorf("interrupted deliveries: got %q, want %q", interrupted, want)
			}
			for _, release := range append(releases, release) {
				release()
			}
			if b.left[partSmall] != 100 {
				t.Errorf("bytes left: got %d, want 100", b.left[partSmall])
			}
		})
	}
}

// slowBody returns a body of n bytes, which ends or not.
func slowBody(n int, ends bool) io.Reader {
	if ends {
		return bytes.NewReader(make([]byte, n))
	}
	return bytes.NewReader(make([]byte, 10*n))
}
