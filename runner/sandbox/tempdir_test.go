package sandbox

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A step that was killed leaves its directory behind, and the next one removes it.
func TestDirectoriesOfKilledStepsAreRemoved(t *testing.T) {
	below := t.TempDir()
	old := time.Now().Add(-time.Hour)
	newDir := func() (dir string, release func()) {
		t.Helper()
		dir, release, err := makeDir(below)
		if err != nil {
			t.Fatal(err)
		}
		return dir, release
	}
	age := func(dir string) {
		t.Helper()
		if err := os.Chtimes(filepath.Join(dir, ownerFile), old, old); err != nil {
			t.Fatal(err)
		}
	}
	killed, release := newDir()
	release()
	age(killed)
	running, release := newDir()
	defer release()
	age(running)
	young, release := newDir()
	release()
	foreign := filepath.Join(below, "slipway-1234")
	if err := os.Mkdir(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	_, remove, err := MakeTempDir(below)
	if err != nil {
		t.Fatal(err)
	}
	defer remove()
	for dir, want := range map[string]bool{killed: false, running: true, young: true, foreign: true} {
		_, err := os.Stat(dir)
		if got := err == nil; got != want {
			t.Errorf("directory %s: got it kept %t, want %t", filepath.Base(dir), got, want)
		}
	}
}
