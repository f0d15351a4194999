package runnertest

import (
	"strings"
	"testing"
)

// CheckHas fails the test if a text, such as the log, lacks another.
func CheckHas(t testing.TB, name, text, want string) {
	t.Helper()
	if !strings.Contains(text, want) {
		t.Errorf("%s: got:\n%s\nwant %q in it", name, text, want)
	}
}

// CheckLacks fails the test if a text, such as the log, has another.
func CheckLacks(t testing.TB, name, text, unwanted string) {
	t.Helper()
	if strings.Contains(text, unwanted) {
		t.Errorf("%s: got:\n%s\nwant no %q in it", name, text, unwanted)
	}
}
