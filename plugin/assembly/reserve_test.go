package assembly_test

import (
	"strings"
	"testing"

	"slipway/config"
	"slipway/plugin/assembly"
)

func TestTheReserveNamesTheDiskAndTheSetting(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		reserve string
		want    []string // nil = no error
	}{
		"enough":     {"1kB", nil},
		"no reserve": {"0", nil},
		"too little": {"1000000TB", []string{dir, "files free", "SLIPWAY_DATA_RESERVE is 1000 PB", "free space there"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := assembly.DataReserve(config.Gateway{Data: dir, DataReserve: c.reserve})
			if err != nil {
				t.Fatal(err)
			}
			err = r.Check()
			if (err != nil) != (c.want != nil) {
				t.Errorf("got error %v, want one: %t", err, c.want != nil)
			}
			for _, want := range c.want {
				if err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("error: got %q, want %q in it", err, want)
				}
			}
		})
	}
	if _, err := assembly.DataReserve(config.Gateway{DataReserve: "some"}); err == nil {
		t.Error("an invalid reserve: got no error, want one")
	}
}
