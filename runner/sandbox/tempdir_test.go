package sandbox

import (
	"os"
	"path/filepath"
	"strings"
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

// A builder that was killed leaves its files behind, and the next one with its state deletes them.
func TestTheTemporaryFilesOfABuilderAreInItsState(t *testing.T) {
	state, err := os.MkdirTemp("", "state-") // the names of sockets have a limit
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(state) })
	top := t.TempDir()
	t.Setenv("TMPDIR", top)
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 100))
	for name, c := range map[string]struct{ state, want string }{
		"a state":                  {state, filepath.Join(state, stateTempDir)},
		"a state with a long name": {long, filepath.Join(top, "slipway-*")},
	} {
		t.Run(name, func(t *testing.T) {
			left := filepath.Join(c.state, stateTempDir, ".buildkit-ssh-sock1")
			if err := os.MkdirAll(left, 0o700); err != nil {
				t.Fatal(err)
			}
			remove, err := UseTempDir(c.state)
			if err != nil {
				t.Fatal(err)
			}
			dir := os.TempDir()
			if matched, _ := filepath.Match(c.want, dir); !matched {
				t.Errorf("directory: got %s, want %s", dir, c.want)
			}
			if _, err := os.Stat(dir); err != nil {
				t.Errorf("directory: got %v, want it made", err)
			}
			remove()
			for _, path := range []string{left, dir} {
				if _, err := os.Stat(path); err == nil {
					t.Errorf("%s: got it, want it deleted", path)
				}
			}
			if got := os.TempDir(); got != top {
				t.Errorf("TMPDIR: got %s, want %s as before", got, top)
			}
		})
	}
}

// A setting may name a directory with other files, for example /var.
func TestADirectoryTmpBesideAStateIsKept(t *testing.T) {
	state := t.TempDir()
	file := filepath.Join(state, "tmp", "file of the owner")
	if err := os.MkdirAll(file, 0o700); err != nil {
		t.Fatal(err)
	}
	remove, err := UseTempDir(state)
	if err != nil {
		t.Fatal(err)
	}
	remove()
	if _, err := os.Stat(file); err != nil {
		t.Errorf("file of the owner: got %v, want it kept", err)
	}
}
