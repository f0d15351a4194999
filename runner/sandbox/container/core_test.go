package container

import (
	"errors"
	"testing"
)

func TestTheCoreLimitFitsTheHardLimit(t *testing.T) {
	allowed := func() error { return nil }
	refused := func() error { return errors.New("operation not permitted") }
	for name, test := range map[string]struct {
		pattern string
		hard    uint64
		raise   func() error
		want    uint64
	}{
		"no limit":                      {"core", ^uint64(0), refused, 1},
		"limit of sudo, raised":         {"core", 0, allowed, 1},
		"limit of sudo, not raised":     {"core", 0, refused, 0},
		"limit of sudo, with a handler": {"|/usr/lib/handler %P", 0, refused, 1},
	} {
		if got := decideCoreLimit(test.pattern, test.hard, test.raise); got != test.want {
			t.Errorf("%s: got %d, want %d", name, got, test.want)
		}
	}
}
