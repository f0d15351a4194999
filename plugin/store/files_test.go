package store_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

// replace copies a file and renames the copy over it, as restore programs do.
func replace(t *testing.T, path string) {
	t.Helper()
	content := must.Get[[]byte](t)(os.ReadFile(path + ".before"))
	if err := os.WriteFile(path+".copy", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".copy", path); err != nil {
		t.Fatal(err)
	}
}

func receiveDelivery(t *testing.T, s *store.Store) (string, error) {
	t.Helper()
	return s.ReceiveDelivery(t.Context(), autobuild.Delivery{HookID: "h", Body: []byte("{}")})
}

// Nothing is acknowledged after the files of the database were deleted or replaced. After the same
// files are back, the store continues, and has lost nothing.
func TestMovedDatabaseFilesStopAllWrites(t *testing.T) {
	for name, c := range map[string]struct {
		file string // "" = the directory
		then func(t *testing.T, path string)
	}{
		"database deleted":   {"slipway.db", nil},
		"database replaced":  {"slipway.db", replace},
		"log deleted":        {"slipway.db-wal", nil},
		"log replaced":       {"slipway.db-wal", replace},
		"log's index gone":   {"slipway.db-shm", nil},
		"directory deleted":  {"", nil},
		"directory replaced": {"", func(t *testing.T, path string) { t.Helper(); must.Succeed(t, os.Mkdir(path, 0o700)) }},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			must.Succeed(t, os.Mkdir(dir, 0o700))
			s := mustOpen(t, dir)
			defer s.Close()
			before := must.Get[string](t)(receiveDelivery(t, s))
			must.Succeed(t, s.Ping(t.Context())) // its result would be reused for a second

			path := filepath.Join(dir, c.file)
			must.Succeed(t, os.Rename(path, path+".before")) // deletes it for the store; the test can undo it
			if c.then != nil {
				c.then(t, path)
			}
			if err := s.Ping(t.Context()); !errors.Is(err, store.ErrMoved) {
				t.Errorf("ping: got error %v, want ErrMoved", err)
			}
			if _, err := receiveDelivery(t, s); !errors.Is(err, store.ErrMoved) {
				t.Errorf("receive a delivery: got error %v, want ErrMoved", err)
			}
			if err := store.ExecWithoutTransaction(t, s, `UPDATE counters SET value = value + 1`); err == nil {
				t.Error("a statement without a transaction: got no error, want one")
			}

			must.Succeed(t, os.RemoveAll(path))
			must.Succeed(t, os.Rename(path+".before", path))
			if err := s.Ping(t.Context()); err != nil {
				t.Errorf("ping after the same file is back: %v", err)
			}
			after, err := receiveDelivery(t, s)
			if err != nil {
				t.Errorf("receive a delivery after the same file is back: %v", err)
			}
			must.Succeed(t, s.Close())
			s = mustOpen(t, dir)
			defer s.Close()
			for _, id := range []string{before, after} {
				if _, err := s.Delivery(t.Context(), id); err != nil {
					t.Errorf("acknowledged delivery: %v", err)
				}
			}
		})
	}
}

// A file system that changes the inodes of its files stops nothing, and a replaced file is noticed there, too.
func TestChangedInodesOfTheSameFilesAreNoMove(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	defer s.Close()
	store.ChangeInodes(s)
	for range 3 {
		must.Get[string](t)(receiveDelivery(t, s))
		must.Succeed(t, s.Ping(t.Context()))
	}
	for _, name := range []string{"slipway.db", "slipway.db-wal", "slipway.db-shm"} {
		path := filepath.Join(dir, name)
		must.Succeed(t, os.Rename(path, path+".before"))
		replace(t, path)
		if _, err := receiveDelivery(t, s); !errors.Is(err, store.ErrMoved) {
			t.Errorf("receive a delivery with another %s: got error %v, want ErrMoved", name, err)
		}
		must.Succeed(t, os.Rename(path+".before", path))
		must.Get[string](t)(receiveDelivery(t, s))
	}
}

// A commit may take long. A delivery is not acknowledged if the file is deleted before or during the
// commit.
func TestADatabaseDeletedDuringACommit(t *testing.T) {
	for name, done := range map[string]bool{"before": false, "after": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "slipway.db")
			var deleting atomic.Bool
			sealer := must.Get[*seal.Sealer](t)(seal.LoadOrCreate(filepath.Join(dir, "secret.key"), true))
			s := must.Get[*store.Store](t)(store.Open(t.Context(), store.Options{
				Path: path, Sealer: sealer,
				Commit: func(what string, isDone bool) {
					if what == "store deliveries" && isDone == done && deleting.CompareAndSwap(true, false) {
						must.Succeed(t, os.Rename(path, path+".gone"))
					}
				},
			}))
			defer s.Close()
			deleting.Store(true)
			if id, err := receiveDelivery(t, s); !errors.Is(err, store.ErrMoved) {
				t.Errorf("delivery %s: got error %v, want ErrMoved", id, err)
			}
		})
	}
}

// A connection that is opened after the file was replaced does not use the other file.
func TestNewConnectionsUseTheOpenedFile(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	defer s.Close()
	path := filepath.Join(dir, "slipway.db")
	must.Succeed(t, os.Rename(path, path+".before"))
	store.CloseReaders(s)
	if _, err := s.Hooks(t.Context()); !errors.Is(err, store.ErrMoved) {
		t.Errorf("read with a new connection: got error %v, want ErrMoved", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("file at the path: got %v, want none", err)
	}
}

// The commands of docs/operations.md save the deleted files of a running gateway, with the changes that
// are only in the log.
func TestDeletedFilesCanBeCopiedFromTheProcess(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	defer s.Close()
	id := must.Get[string](t)(receiveDelivery(t, s))
	for _, name := range []string{"slipway.db", "slipway.db-wal", "slipway.db-shm"} {
		must.Succeed(t, os.Remove(filepath.Join(dir, name)))
	}
	page := string(must.Get[[]byte](t)(os.ReadFile("../../docs/operations.md")))
	_, commands, _ := strings.Cut(page, "mkdir -m 700 /var/lib/slipway-saved\n")
	commands, _, found := strings.Cut(commands, "```")
	if !found {
		t.Fatal("docs/operations.md: got no commands that copy the deleted files")
	}
	commands = strings.ReplaceAll(commands, "/var/lib/slipway-saved", "$saved")
	c := exec.CommandContext(t.Context(), "sh", "-e", "-c", commands)
	saved := t.TempDir()
	c.Env = append(os.Environ(), "saved="+saved, "pid="+strconv.Itoa(os.Getpid()))
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", commands, err, out)
	}
	must.Succeed(t, os.Rename(filepath.Join(dir, "secret.key"), filepath.Join(saved, "secret.key")))
	restored := mustOpen(t, saved)
	defer restored.Close()
	if _, err := restored.Delivery(t.Context(), id); err != nil {
		t.Errorf("acknowledged delivery: %v", err)
	}
}
