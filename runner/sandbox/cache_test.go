package sandbox

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestChooseCacheDirectory(t *testing.T) {
	volume := cacheDir{exists: true, mounted: true, writable: true}
	named := LocalCache{Dir: "/cache", Origin: "PLUGIN_STATE"}
	for _, c := range []struct {
		setting   LocalCache
		found     cacheDir
		dir, line string
	}{
		{LocalCache{}, cacheDir{}, "", "deleted with this step; a volume at"},
		{
			LocalCache{}, cacheDir{exists: true, writable: true, filled: true},
			"", "deleted with this step; a volume at",
		},
		{LocalCache{}, volume, cacheVolume, "which was empty"},
		{LocalCache{}, cacheDir{exists: true, mounted: true}, "", "cannot be written"},
		{LocalCache{Off: true}, volume, "", "PLUGIN_STATE is off"},
		{named, cacheDir{exists: true, writable: true}, "/cache", "in /cache (PLUGIN_STATE), which was empty"},
		{
			named, cacheDir{exists: true, writable: true, filled: true},
			"/cache", "in /cache (PLUGIN_STATE), as earlier steps left it",
		},
		{
			named, cacheDir{exists: true, writable: true, filled: true, damaged: "it comes from another machine"},
			"/cache", "in /cache (PLUGIN_STATE) starts empty: the earlier one is deleted, because it comes from another",
		},
	} {
		got := c.setting.choose(c.found)
		if got.dir != c.dir {
			t.Errorf("%+v, %+v: got directory %q, want %q", c.setting, c.found, got.dir, c.dir)
		}
		if !strings.Contains(got.line, c.line) {
			t.Errorf("%+v, %+v: got line %q, want %q", c.setting, c.found, got.line, c.line)
		}
	}
}

func TestFallbackLineNamesTheCause(t *testing.T) {
	choice := cacheChoice{name: "/cache"}
	for want, err := range map[string]error{
		"another step is using the cache in /cache": fmt.Errorf("start: %w", &LockedError{}),
		"/cache cannot be used":                     errors.New("broken"),
		"broken":                                    errors.New("broken"),
	} {
		if got := choice.fallbackLine(err); !strings.Contains(got, want) {
			t.Errorf("error %v: got %q, want %q", err, got, want)
		}
	}
}
