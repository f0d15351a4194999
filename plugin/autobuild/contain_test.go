package autobuild_test

import (
	"errors"
	"strings"
	"testing"

	"slipway/plugin/autobuild"
)

func TestContainReturnsAPanicAsAnError(t *testing.T) {
	own := errors.New("error of the function")
	if err := autobuild.Contain(func() error { return own }); !errors.Is(err, own) {
		t.Errorf("a function with an error: got %v, want the error", err)
	}
	if err := autobuild.Contain(func() error { return nil }); err != nil {
		t.Errorf("a function without an error: got %v, want nil", err)
	}
	err := autobuild.Contain(func() error { panic("an index out of range") })
	if err == nil {
		t.Fatal("a panic: got nil, want an error")
	}
	for _, part := range []string{"an index out of range", "contain_test.go"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("a panic: got %v, want %q in the error", err, part)
		}
	}
}
