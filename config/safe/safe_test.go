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
		t.Errorf("got %v, want %v", err, want)
	}
	if err := safe.Do(func() error { return nil }); err != nil {
		t.Errorf("got %v, want no error", err)
	}
}

func TestDoReturnsAPanicAsAnError(t *testing.T) {
	err := safe.Do(func() error { panic("index out of range") })
	if err == nil {
		t.Fatal("got no error for a panic")
	}
	for _, want := range []string{"index out of range", "safe_test.go"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to contain %q", err, want)
		}
	}
}
