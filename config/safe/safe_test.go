package safe_test

import (
	"errors"
	"strings"
	"testing"

	"slipway/config/safe"
)

func TestDoReturnsTheErrorOfTheFunction(t *testing.T) {
	want := errors.New("broken")
	if err := safe.Do(func() error { return want }); !errors.Is(err, want) {
		t.Errorf("Do: got error %v, want %v", err, want)
	}
	if err := safe.Do(func() error { return nil }); err != nil {
		t.Errorf("Do: got error %v, want nil", err)
	}
}

func TestDoReturnsAPanicAsAnError(t *testing.T) {
	err := safe.Do(func() error { panic("index out of range") })
	if err == nil {
		t.Fatal("Do with a panic: got no error, want one")
	}
	for _, want := range []string{"index out of range", "safe_test.go"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("Do with a panic: got error %v, want %q in it", err, want)
		}
	}
}
