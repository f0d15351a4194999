package sandbox

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestWhereTheCacheIs(t *testing.T) {
	volume := cacheDir{exists: true, volume: true, writable: true}
	named := LocalCache{Dir: "/cache", Origin: "PLUGIN_STATE"}
	for _, c := range []struct {
		asked     LocalCache
		found     cacheDir
		dir, line string
	}{
		{LocalCache{}, cacheDir{}, "", "goes with this step; a volume at"},
		{LocalCache{}, cacheDir{exists: true, writable: true, filled: true}, "", "goes with this step; a volume at"},
		{LocalCache{}, volume, cacheVolume, "which was empty"},
		{LocalCache{}, cacheDir{exists: true, volume: true}, "", "cannot be written"},
		{LocalCache{Off: true}, volume, "", "as PLUGIN_STATE says"},
		{named, cacheDir{exists: true, writable: true}, "/cache", "in /cache (PLUGIN_STATE), which was empty"},
		{
			named,
			cacheDir{exists: true, writable: true, filled: true},
			"/cache",
			"in /cache (PLUGIN_STATE), as earlier steps left it",
		},
	} {
		got := chooseCache(c.asked, c.found)
		if got.dir != c.dir {
			t.Errorf("%+v, %+v: got directory %q, want %q", c.asked, c.found, got.dir, c.dir)
		}
		if !strings.Contains(got.line, c.line) {
			t.Errorf("%+v, %+v: got line %q, want %q in it", c.asked, c.found, got.line, c.line)
		}
	}
}

func TestWhyTheCacheIsNotUsed(t *testing.T) {
	choice := cacheChoice{name: "/cache"}
	locked := choice.unusable(fmt.Errorf("start: %w", &LockedError{}))
	if want := "another step is using"; !strings.Contains(locked, want) {
		t.Errorf("a locked cache: got %q, want %q in it", locked, want)
	}
	broken := choice.unusable(errors.New("broken"))
	if want := "broken"; !strings.Contains(broken, want) {
		t.Errorf("a broken cache: got %q, want %q in it", broken, want)
	}
}
