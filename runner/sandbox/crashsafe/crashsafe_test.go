package crashsafe_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipway/config/must"
	"slipway/runner/sandbox/crashsafe"
)

func here() crashsafe.Machine { return crashsafe.Machine{Boot: "boot 1", ID: "machine 1"} }

// leave makes a state with a cache, as a builder on this machine left it. closed = it was closed.
func leave(t *testing.T, closed bool) (dir string) {
	t.Helper()
	dir = t.TempDir()
	state := open(t, dir, here(), "")
	must.Succeed(t, os.MkdirAll(filepath.Join(dir, "runc-overlayfs", "snapshots"), 0o700))
	for _, name := range []string{"cache.db", "builder.lock", "runc-overlayfs/metadata_v2.db", "a file of the owner"} {
		must.Succeed(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
	}
	if closed {
		must.Succeed(t, state.Close())
	}
	return dir
}

// open opens a state. want is a part of the reason to discard it, or "".
func open(t *testing.T, dir string, m crashsafe.Machine, want string) *crashsafe.State {
	t.Helper()
	got := ""
	state := must.Get[*crashsafe.State](t)(crashsafe.Open(dir, m, func(reason string) { got = reason }))
	if (want == "") != (got == "") || !strings.Contains(got, want) {
		t.Errorf("reason to discard the state: got %q, want %q", got, want)
	}
	return state
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestAStateIsUsedOnlyIfItIsComplete(t *testing.T) {
	for name, test := range map[string]struct {
		closed bool
		next   crashsafe.Machine
		want   string // a part of the reason to discard it
	}{
		"a killed builder":                        {false, here(), ""},
		"a clean end":                             {true, here(), ""},
		"a clean end before a boot":               {true, crashsafe.Machine{Boot: "boot 2", ID: "machine 1"}, ""},
		"a crash of the machine":                  {false, crashsafe.Machine{Boot: "boot 2", ID: "machine 1"}, "lost power"},
		"a crash, and the boot is unknown":        {false, crashsafe.Machine{ID: "machine 1"}, "lost power"},
		"another machine":                         {true, crashsafe.Machine{Boot: "boot 2", ID: "machine 2"}, "another machine"},
		"another machine with the same boot":      {false, crashsafe.Machine{Boot: "boot 1", ID: "machine 2"}, "another machine"},
		"a clean end, and the machine is unknown": {true, crashsafe.Machine{Boot: "boot 2"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := leave(t, test.closed)
			before := must.Get[string](t)(crashsafe.Check(dir, test.next))
			open(t, dir, test.next, test.want)
			if (before == "") != (test.want == "") {
				t.Errorf("Check: got %q, want the reason of Open, %q", before, test.want)
			}
			if kept := exists(filepath.Join(dir, "cache.db")); kept != (test.want == "") {
				t.Errorf("the cache exists: got %v, want %v", kept, test.want == "")
			}
			for _, name := range []string{"builder.lock", "a file of the owner"} {
				if !exists(filepath.Join(dir, name)) {
					t.Errorf("%s: got none, want that it is kept", name)
				}
			}
			if test.next.Boot == "" {
				return // an unknown boot keeps nothing that was not closed
			}
			open(t, dir, test.next, "") // a state is not discarded twice
		})
	}
}

func TestAStateThatWasCopiedWhileItWasInUseIsDiscarded(t *testing.T) {
	dir, duplicate := leave(t, false), t.TempDir()
	must.Succeed(t, os.CopyFS(duplicate, os.DirFS(dir)))
	open(t, duplicate, here(), "copy")
	open(t, dir, here(), "")
}

func TestAStateWithoutARecordIsDiscarded(t *testing.T) {
	dir := leave(t, true)
	must.Succeed(t, os.Remove(filepath.Join(dir, "origin")))
	open(t, dir, here(), "no record")
	open(t, dir, here(), "")
}

func TestAStateWithADamagedRecordIsDiscarded(t *testing.T) {
	dir := leave(t, true)
	must.Succeed(t, os.WriteFile(filepath.Join(dir, "origin"), []byte(`{"boot":"boo`), 0o600))
	open(t, dir, here(), "cannot be read")
	open(t, dir, here(), "")
}

func TestANewDirectoryHasNothingToDiscard(t *testing.T) {
	if got := must.Get[string](t)(crashsafe.Check(filepath.Join(t.TempDir(), "absent"), here())); got != "" {
		t.Errorf("an absent directory: got %q, want no reason", got)
	}
	dir := t.TempDir()
	must.Succeed(t, os.WriteFile(filepath.Join(dir, "builder.lock"), nil, 0o600))
	open(t, dir, here(), "")
}

// The record of use is on the disk before a builder writes anything, so it must not wait for Close.
func TestOpenReplacesTheRecordOfACleanEnd(t *testing.T) {
	dir := leave(t, true)
	open(t, dir, here(), "")
	var record struct {
		Open bool
	}
	must.Succeed(t, json.Unmarshal(must.Get[[]byte](t)(os.ReadFile(filepath.Join(dir, "origin"))), &record))
	if !record.Open {
		t.Error("record: got a closed state, want an open one")
	}
}

// A full disk has no space for another record, so the next boot needs none.
func TestMarkKeepsTheRecordOfAnEarlierBoot(t *testing.T) {
	dir := t.TempDir()
	must.Succeed(t, crashsafe.Mark(dir, here()))
	before := must.Get[os.FileInfo](t)(os.Stat(filepath.Join(dir, "origin")))
	must.Succeed(t, crashsafe.Mark(dir, crashsafe.Machine{Boot: "boot 2", ID: here().ID}))
	if after := must.Get[os.FileInfo](t)(os.Stat(filepath.Join(dir, "origin"))); !os.SameFile(before, after) {
		t.Error("record of the same machine: got a new one, want the old one")
	}
	other := crashsafe.Machine{Boot: "boot 2", ID: "machine 2"}
	must.Succeed(t, crashsafe.Mark(dir, other))
	if got := must.Get[string](t)(crashsafe.Check(dir, other)); got != "" {
		t.Errorf("after Mark on another machine: got %q, want no reason", got)
	}
}

func TestADiscardThatFailsIsAnError(t *testing.T) {
	dir := leave(t, false)
	must.Succeed(t, os.Remove(filepath.Join(dir, "runc-overlayfs", "metadata_v2.db")))
	must.Succeed(t, os.RemoveAll(filepath.Join(dir, "runc-overlayfs")))
	must.Succeed(t, os.Mkdir(filepath.Join(dir, "runc-overlayfs"), 0o700))
	mountBusy(t, filepath.Join(dir, "runc-overlayfs"))
	_, err := crashsafe.Open(dir, crashsafe.Machine{Boot: "boot 2", ID: "machine 1"}, func(string) {
		t.Error("got a discarded state, want an error")
	})
	for _, want := range []string{dir, "lost power", "delete it by hand"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error: got %v, want %q in it", err, want)
		}
	}
}

// The name of a directory may have the characters of a pattern.
func TestAStateWithAnyNameIsChecked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache[1]*")
	must.Succeed(t, os.Mkdir(dir, 0o700))
	open(t, dir, here(), "")
	must.Succeed(t, os.WriteFile(filepath.Join(dir, "cache.db"), nil, 0o600))
	open(t, dir, crashsafe.Machine{Boot: "boot 2", ID: "machine 1"}, "lost power")
	if exists(filepath.Join(dir, "cache.db")) {
		t.Error("cache: got it, want it deleted")
	}
}

func TestDiscardedFilesAreDeleted(t *testing.T) {
	dir := leave(t, false)
	open(t, dir, crashsafe.Machine{Boot: "boot 2", ID: "machine 1"}, "lost power")
	deadline, tick := time.After(10*time.Second), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		found := must.Get[[]string](t)(filepath.Glob(filepath.Join(dir, ".discarded-*")))
		if found == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("discarded files: got %v, want none", found)
		case <-tick.C:
		}
	}
}

func TestTheTextOfAMachine(t *testing.T) {
	for _, m := range []crashsafe.Machine{{}, here(), {Boot: "boot 1"}, {ID: "machine 1"}} {
		if got := crashsafe.ParseMachine(m.Text()); got != m {
			t.Errorf("ParseMachine(%q): got %+v, want %+v", m.Text(), got, m)
		}
	}
}

func TestReadMachineReadsTheBoot(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Skip("SKIPPED: this test reads /proc/sys/kernel/random/boot_id, which is absent (any Linux has it)")
	}
	m := crashsafe.ReadMachine(false)
	if want := strings.TrimSpace(string(text)); m.Boot != want {
		t.Errorf("boot: got %q, want %q", m.Boot, want)
	}
	if id, err := os.ReadFile(
		"/etc/machine-id",
	); err == nil &&
		strings.Contains(m.Text(), strings.TrimSpace(string(id))) {
		t.Errorf("machine: got %q, want a hash of the machine's id", m.Text())
	}
}

// mountBusy mounts a file system at a directory, so that the directory cannot be renamed.
func mountBusy(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: this test mounts a file system, which needs root, which is absent")
	}
	must.Succeed(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { must.Succeed(t, unix.Unmount(dir, unix.MNT_DETACH)) })
}
