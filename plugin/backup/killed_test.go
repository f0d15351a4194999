package backup_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipway/config/must"
	"slipway/plugin/backup"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

// killedVariable names the data directory that this program backs up until it is killed. The key is a FIFO, which the
// test opens to know that the backup is there. A log is a FIFO without a writer, so that the backup stays there.
const killedVariable = "SLIPWAY_TEST_KILLED_BACKUP"

func createUntilKilled(data string) {
	sealer, err := seal.LoadOrCreate(filepath.Join(data, "secret.key"), false)
	if err == nil {
		_, err = backup.Create(context.Background(), backup.Installation{
			Store: store.Options{Path: filepath.Join(data, "slipway.db"), Sealer: sealer},
			Key:   filepath.Join(data, "fifo"), Logs: filepath.Join(data, "fifos"),
		}, filepath.Join(data, "backups", "killed"), true, false)
	}
	fmt.Fprintln(os.Stderr, "the backup ended before it was killed:", err)
	os.Exit(1)
}

// The next backup removes the directory of a killed one, which holds the database, and leaves that of a running one.
func TestTheNextBackupRemovesWhatAKilledOneLeft(t *testing.T) {
	e := newEnv(t, false)
	dir := filepath.Join(e.dir, "backups")
	must.Succeed(t, os.Mkdir(dir, 0o700))
	fifo := filepath.Join(e.dir, "fifo")
	must.Succeed(t, unix.Mkfifo(fifo, 0o600))
	log := filepath.Join(e.dir, "fifos", e.build.ID, "1.log")
	must.Succeed(t, os.MkdirAll(filepath.Dir(log), 0o700))
	must.Succeed(t, unix.Mkfifo(log, 0o600))
	self, err := os.Executable()
	must.Succeed(t, err)
	killed := exec.Command(self)
	killed.Env = append(os.Environ(), killedVariable+"="+e.dir)
	killed.Stderr = t.Output()
	must.Succeed(t, killed.Start())
	ended, reader := make(chan struct{}), make(chan *os.File, 1)
	go func() {
		_ = killed.Wait() // it was killed, or the error is in its output
		close(ended)
		f, _ := os.OpenFile(fifo, os.O_RDWR, 0) // so that opening it for writing does not wait forever
		reader <- f
	}()
	t.Cleanup(func() {
		_ = killed.Process.Kill()
		_ = (<-reader).Close()
	})
	writer, err := os.OpenFile(fifo, os.O_WRONLY, 0) // waits until the backup reads the FIFO, or has ended
	must.Succeed(t, err)
	select {
	case <-ended:
		t.Fatal("the backup ended before it was killed")
	default:
	}

	first, err := backup.Create(t.Context(), e.installation(), filepath.Join(dir, "first"), false, false)
	must.Succeed(t, err)
	if len(first.Notes) != 0 {
		t.Errorf("notes beside a running backup: got %q, want none", first.Notes)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".slipway-backup-*"))
	must.Succeed(t, err)
	if len(left) != 1 {
		t.Fatalf("directories of the running backup: got %q, want 1", left)
	}
	must.Succeed(t, killed.Process.Kill())
	<-ended
	must.Succeed(t, writer.Close())

	second, err := backup.Create(t.Context(), e.installation(), filepath.Join(dir, "second"), false, false)
	must.Succeed(t, err)
	if len(second.Notes) != 1 || !strings.Contains(second.Notes[0], left[0]) {
		t.Errorf("notes after the kill: got %q, want one with %s", second.Notes, left[0])
	}
	if names := list(t, dir); len(names) != 2 {
		t.Errorf("directory of the backups: got %q, want two backups only", names)
	}
}

// Without a lock that counts, only age tells a killed backup from a running one.
func TestTheNextBackupRemovesOldDirectoriesWithoutALock(t *testing.T) {
	e := newEnv(t, false)
	for name, c := range map[string]struct {
		age   time.Duration
		owner string // content of the file with the lock; empty = no file
		mode  os.FileMode
		gone  bool
	}{
		"just made, or of an older version": {time.Minute, "", 0o700, false},
		"of an older version, killed":       {25 * time.Hour, "", 0o700, true},
		"of another host":                   {time.Minute, "other.example.com", 0o700, false},
		"of another host, killed":           {25 * time.Hour, "other.example.com", 0o700, true},
		"no directory":                      {25 * time.Hour, "", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			left := filepath.Join(dir, ".slipway-backup-1")
			if c.mode == 0 {
				must.Succeed(t, os.WriteFile(left, nil, 0o600))
			} else {
				must.Succeed(t, os.Mkdir(left, c.mode))
			}
			if c.owner != "" {
				must.Succeed(t, os.WriteFile(filepath.Join(left, "owner"), []byte(c.owner), 0o600))
			}
			at := time.Now().Add(-c.age)
			must.Succeed(t, os.Chtimes(left, at, at))
			_, err := backup.Create(t.Context(), e.installation(), filepath.Join(dir, "new"), false, false)
			must.Succeed(t, err)
			if _, err := os.Lstat(left); os.IsNotExist(err) != c.gone {
				t.Errorf("directory after the backup: got error %v, want it gone: %t", err, c.gone)
			}
		})
	}
}

// A restore removes the directory of a killed restore, which may hold the key.
func TestARestoreRemovesWhatAKilledOneLeft(t *testing.T) {
	e := newEnv(t, false)
	o := target(t, e.backUp(false), false)
	o.Key = e.key
	left := filepath.Join(o.Data, ".restore-1")
	must.Succeed(t, os.Mkdir(left, 0o700))
	must.Succeed(t, os.WriteFile(filepath.Join(left, "secret.key"), []byte("key"), 0o600))
	_, err := backup.Restore(t.Context(), o)
	must.Succeed(t, err)
	if _, err := os.Lstat(left); !os.IsNotExist(err) {
		t.Errorf("%s after the next restore: got error %v, want it gone", left, err)
	}
}

// list returns the names in a directory.
func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must.Succeed(t, err)
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// The time of a restore to PostgreSQL is the server's, because the gateways compare it with times of that server.
func TestARestoreToPostgresHasTheServersTime(t *testing.T) {
	o := target(t, newEnv(t, false).backUp(true), true)
	o.Now = time.Now().Add(-48 * time.Hour) // the clock of this machine is wrong
	_, err := backup.Restore(t.Context(), o)
	must.Succeed(t, err)
	db, err := sql.Open("pgx", o.Postgres.Reveal())
	must.Succeed(t, err)
	defer db.Close()
	var after time.Duration
	err = db.QueryRowContext(t.Context(), `SELECT ((extract(epoch FROM clock_timestamp()) * 1000)::int8
		- convert_from(value, 'UTF8')::int8) * 1000000 FROM instance WHERE name = 'restored_at'`).Scan(&after)
	must.Succeed(t, err)
	if after < 0 || after > time.Hour {
		t.Errorf("time of the restore: got one %s ago, want now", after)
	}
}
