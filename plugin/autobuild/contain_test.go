package autobuild_test

import (
	"errors"
	"strings"
	"testing"

	"slipway/plugin/autobuild"
)

func TestContainMakesAnErrorOfAPanic(t *testing.T) {
	own := errors.New("its own")
	if err := autobuild.Contain(func() error { return own }); !errors.Is(err, own) {
		t.Errorf("an error became %v", err)
	}
	if err := autobuild.Contain(func() error { return nil }); err != nil {
		t.Errorf("success became %v", err)
	}
	err := autobuild.Contain(func() error { panic("an index out of range") })
	if err == nil || !strings.Contains(err.Error(), "an index out of range") ||
		!strings.Contains(err.Error(), "contain_test.go") {
		t.Errorf("a panic became %v", err)
	}
}
