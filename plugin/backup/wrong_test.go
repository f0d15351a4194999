package backup_test

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"slipway/config/must"
	"slipway/plugin/backup"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

// Files that people hand to restore by mistake are named, and change nothing.
func TestFilesThatAreNoBackup(t *testing.T) {
	e := newEnv(t, false)
	good, err := os.ReadFile(e.backUp(true))
	must.Succeed(t, err)
	live, err := os.ReadFile(e.o.Path) // of a running gateway, without slipway.db-wal
	must.Succeed(t, err)
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"a copied live database":   {live, "a copy of slipway.db lacks the newest rows"},
		"a dump of PostgreSQL":     {[]byte("PGDMP\x01\x0e"), "load it with pg_restore"},
		"text":                     {[]byte("-- SQL\nCREATE TABLE x;\n"), "it is no backup: name the file"},
		"an empty file":            {nil, "it is empty"},
		"a short text":             {[]byte("x"), "it is no backup"},
		"one byte":                 {good[:1], "it ends early"},
		"another archive":          {archive(t, "etc/passwd", "x"), "it is no backup"},
		"a newer format":           {archive(t, "slipway-backup", "9\n"), "it has format 9, this program supports 1"},
		"no manifest":              {archive(t, "slipway-backup", "1\n"), "it ends early"},
		"a path out of the backup": {archive(t, "slipway-backup", "1\n", "../x", "x"), `it contains "../x"`},
		"a wrong checksum": {archive(t, "slipway-backup", "1\n", "slipway.db", "x", "manifest.json",
			`{"parts":[{"name":"slipway.db","size":1,"sha256":"00"}]}`), "its slipway.db does not match the checksum"},
		"a broken manifest": {archive(t, "slipway-backup", "1\n", "manifest.json", "{"), "its manifest cannot be read"},
		"half a backup":     {good[:len(good)/2], "it ends early: the copy is incomplete"},
		"without the end":   {good[:len(good)-4], "it ends early: the copy is incomplete"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "file")
			must.Succeed(t, os.WriteFile(file, c.content, 0o600))
			o := target(t, file, false)
			_, err := backup.Restore(t.Context(), o)
			wantError(t, err, file, c.want)
			wantEmpty(t, o.Data)
		})
	}
	o := target(t, t.TempDir(), false)
	_, err = backup.Restore(t.Context(), o)
	wantError(t, err, "it is a directory")
}

// archive returns an archive with these names and contents.
func archive(t *testing.T, files ...string) []byte {
	t.Helper()
	var content bytes.Buffer
	compressed, err := zstd.NewWriter(&content)
	must.Succeed(t, err)
	w := tar.NewWriter(compressed)
	for i := 0; i < len(files); i += 2 {
		must.Succeed(t, w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o600, Size: int64(len(files[i+1]))}))
		_, err := w.Write([]byte(files[i+1]))
		must.Succeed(t, err)
	}
	must.Succeed(t, w.Close())
	must.Succeed(t, compressed.Close())
	return content.Bytes()
}

// F25: wherever a bit of a backup flips, the restore refuses it, or restores the same.
func TestF25AFlippedBitIsFound(t *testing.T) {
	e := newEnv(t, false)
	good, err := os.ReadFile(e.backUp(true))
	must.Succeed(t, err)
	const flips = 40
	harmless := 0
	for i := range flips {
		bad := bytes.Clone(good)
		bad[4+i*(len(good)-4)/flips] ^= 1 << (i % 8)
		file := filepath.Join(t.TempDir(), "file")
		must.Succeed(t, os.WriteFile(file, bad, 0o600))
		o := target(t, file, false)
		if _, err := backup.Restore(t.Context(), o); err == nil { // a bit without a meaning
			harmless++
			e.compare(open(t, o))
			continue
		}
		wantEmpty(t, o.Data)
	}
	if harmless > 1 {
		t.Errorf("flips without an effect: got %d of %d, want at most one", harmless, flips)
	}
}

// A backup that is interrupted, or whose disk is full, leaves no file.
func TestAnInterruptedBackupLeavesNothing(t *testing.T) {
	e := newEnv(t, false)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := backup.Create(ctx, e.installation(), filepath.Join(dir, "file"), false, false)
	wantError(t, err, "context canceled")
	wantEmpty(t, dir)
}

// However much space is left, a restore is complete or leaves nothing. The backup of PostgreSQL has no check indexes,
// so the file of SQLite grows during the restore.
func TestARestoreOnAnAlmostFullDisk(t *testing.T) {
	e := newEnv(t, true)
	_, err := e.store.Hold(t.Context(), "gateway/other", time.Hour)
	must.Succeed(t, err)
	file := e.backUp(true)
	failed, complete := 0, 0
	for size := 300 << 10; complete < 2; size += 24 << 10 {
		o := target(t, file, false)
		o.Data = fullDisk(t, size)
		o.Key = filepath.Join(o.Data, "secret.key")
		if _, err := backup.Restore(t.Context(), o); err != nil {
			failed++
			wantEmpty(t, o.Data)
			continue
		}
		complete++
		sealer, err := seal.LoadOrCreate(o.Key, false)
		must.Succeed(t, err)
		check, err := store.CheckSnapshot(t.Context(), filepath.Join(o.Data, "slipway.db"), sealer)
		if err != nil || check.Rows["builds"] != 1 || check.Rows["leases"] != 0 {
			t.Errorf("restore on %d bytes: got rows %v, error %v, want one build, no lease", size, check.Rows, err)
		}
	}
	if failed == 0 {
		t.Error("restores without space: got none, want some")
	}
}

// The work of a backup and of a restore does not fit on a full disk.
func TestAFullDiskLeavesNothing(t *testing.T) {
	e := newEnv(t, false)
	log := strings.Repeat("0123456789abcdef", 1<<16)
	_, err := e.logs.Append(t.Context(), e.build.ID, 1, 7, []byte(log))
	must.Succeed(t, err)
	full := fullDisk(t, 300<<10)
	_, err = backup.Create(t.Context(), e.installation(), filepath.Join(full, "file"), false, false)
	wantError(t, err, "full")
	wantEmpty(t, full)
	o := target(t, e.backUp(true), false)
	o.Data = full
	_, err = backup.Restore(t.Context(), o)
	wantError(t, err, "no space left on device")
	wantEmpty(t, full)
}
