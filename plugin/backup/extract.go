package backup

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/klauspost/compress/zstd"

	"slipway/config/text"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

// maxManifest bounds the manifest, in bytes. It has about 150 bytes for each log.
const maxManifest = 1 << 30

// The first bytes of files that people take for a backup.
const (
	sqliteMagic   = "SQLite format 3\x00"
	postgresMagic = "PGDMP"
	zstdMagic     = "\x28\xb5\x2f\xfd"
)

var (
	errNoBackup = errors.New("it is no backup: name the file that `slipway backup` wrote")
	errCutOff   = errors.New("it ends early: the copy is incomplete: copy the backup again")
)

// extract reads a backup, compares every part with its checksum in the manifest, and writes the parts that keep
// selects to a directory. The errors tell a file of another kind from a damaged backup.
func extract(ctx context.Context, file, dir string, keep func(name string) bool) (Manifest, error) {
	f, err := os.Open(file)
	if err != nil {
		return Manifest{}, err
	}
	defer f.Close()
	content := bufio.NewReader(f)
	if err := checkKind(f, content); err != nil {
		return Manifest{}, err
	}
	expanded, err := zstd.NewReader(contextReader{ctx, content})
	if err != nil {
		return Manifest{}, err
	}
	defer expanded.Close()
	r := &reader{tar: tar.NewReader(expanded), dir: dir, keep: keep}
	m, err := r.readAll()
	switch {
	case ctx.Err() != nil:
		return m, ctx.Err()
	case errors.Is(err, io.ErrUnexpectedEOF):
		return m, errCutOff
	case errors.Is(err, zstd.ErrCRCMismatch), errors.Is(err, tar.ErrHeader), errors.Is(err, zstd.ErrMagicMismatch):
		return m, fmt.Errorf("it is damaged: use another copy: %w", err)
	}
	return m, err
}

// checkKind recognizes files that are no backups by their first bytes.
func checkKind(f *os.File, content *bufio.Reader) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.IsDir() {
		return errors.New("it is a directory: name the file that `slipway backup` wrote")
	}
	start, err := content.Peek(len(sqliteMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch {
	case len(start) == 0:
		return errors.New("it is empty: the copy is incomplete: copy the backup again")
	case bytes.HasPrefix(start, []byte(sqliteMagic)):
		return errors.New(
			"it is a copy of a database file, and no backup: a copy of slipway.db lacks the newest rows, " +
				"which a running gateway keeps in slipway.db-wal: run `slipway backup` at the gateway, and restore its file",
		)
	case bytes.HasPrefix(start, []byte(postgresMagic)):
		return errors.New("it is a dump of pg_dump, and no backup: load it with pg_restore")
	case !bytes.HasPrefix(start, []byte(zstdMagic)) && !bytes.HasPrefix([]byte(zstdMagic), start):
		return errNoBackup
	}
	return nil
}

// A reader reads the parts of a backup.
type reader struct {
	tar   *tar.Reader
	dir   string
	keep  func(name string) bool
	parts []Part // as read
}

func (r *reader) readAll() (Manifest, error) {
	header, err := r.tar.Next()
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return Manifest{}, errCutOff
	}
	if err != nil || header.Name != formatName {
		return Manifest{}, errNoBackup
	}
	if err := r.checkFormat(); err != nil {
		return Manifest{}, err
	}
	for {
		header, err := r.tar.Next()
		if errors.Is(err, io.EOF) {
			return Manifest{}, errCutOff
		}
		if err != nil {
			return Manifest{}, err
		}
		if header.Name == manifestName {
			return r.readManifest()
		}
		if err := r.readPart(header); err != nil {
			return Manifest{}, err
		}
	}
}

func (r *reader) checkFormat() error {
	var format int
	if _, err := fmt.Fscan(io.LimitReader(r.tar, 64), &format); err != nil {
		return errNoBackup
	}
	if format != formatVersion {
		return fmt.Errorf(
			"it has format %d, this program supports %d: use a newer version of Slipway",
			format,
			formatVersion,
		)
	}
	return nil
}

// readPart hashes a part, and writes it if it is kept.
func (r *reader) readPart(header *tar.Header) (err error) {
	if err := checkName(header.Name); err != nil {
		return err
	}
	if header.Typeflag != tar.TypeReg {
		return fmt.Errorf("its %s is no regular file", header.Name)
	}
	sum, to := sha256.New(), io.Discard
	if r.keep(header.Name) {
		if err := logDirectories(r.dir, header.Name); err != nil {
			return err
		}
		path := filepath.Join(r.dir, header.Name) //nolint:gosec // checkName allows no path out of the directory
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		to = f
	}
	n, err := io.Copy(io.MultiWriter(sum, to), r.tar)
	if err != nil {
		return err
	}
	r.parts = append(r.parts, Part{Name: header.Name, Size: n, SHA256: hex.EncodeToString(sum.Sum(nil))})
	return nil
}

// readManifest reads the last part and compares it with those before.
func (r *reader) readManifest() (Manifest, error) {
	content, err := io.ReadAll(io.LimitReader(r.tar, maxManifest))
	if err != nil {
		return Manifest{}, err
	}
	var m Manifest
	if err := json.Unmarshal(content, &m); err != nil {
		return Manifest{}, fmt.Errorf("it is damaged: its manifest cannot be read: %w", err)
	}
	for i, want := range m.Parts {
		if i >= len(r.parts) || r.parts[i] != want {
			return Manifest{}, fmt.Errorf(
				"it is damaged: its %s does not match the checksum: use another copy",
				want.Name,
			)
		}
	}
	if len(r.parts) > len(m.Parts) ||
		!slices.ContainsFunc(m.Parts, func(p Part) bool { return p.Name == databaseName }) {
		return Manifest{}, errors.New("it is damaged: its manifest does not match its parts: use another copy")
	}
	if _, err := r.tar.Next(); !errors.Is(err, io.EOF) { // reads the end, and its checksum
		return Manifest{}, errors.New("it is damaged: it does not end after its manifest: use another copy")
	}
	return m, nil
}

// checkDatabase checks the database of a backup, and that it is the one of the manifest. A nil sealer opens no sealed
// values.
func checkDatabase(ctx context.Context, path string, sealer *seal.Sealer, m Manifest) (store.SnapshotCheck, error) {
	check, err := store.CheckSnapshot(ctx, path, sealer)
	if errors.Is(err, store.ErrDamaged) {
		return check, fmt.Errorf("its database is damaged: use another backup: %w", err)
	}
	if err != nil {
		return check, err
	}
	if check.Schema != m.Schema || check.Instance != m.Instance || !maps.Equal(check.Rows, m.Rows) {
		return check, errors.New("its database is not the one of its manifest: " + text.OneLine(
			fmt.Sprintf("got rows %v, want %v", check.Rows, m.Rows), 0))
	}
	return check, nil
}
