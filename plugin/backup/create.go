package backup

import (
	"archive/tar"
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
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

// An Installation locates the state of a gateway.
type Installation struct {
	Store   store.Options // with the sealer of the key file
	Logs    string        // directory of the logs; unused with PostgreSQL
	Key     string        // path of the key file
	URL     string
	Version string // of this program
}

// A Result describes a new backup.
type Result struct {
	Manifest
	Size   int64 // of the file, in bytes
	Sealed int   // sealed values that the key opens
	// Unreadable are the places of the sealed values that the key does not open, e.g. "accounts/access_token/a". They
	// were unreadable before.
	Unreadable []string
	// Notes has a line for each directory that a killed backup left beside the file, and that Create removed.
	Notes []string
}

// Create writes a backup of an installation to a file with mode 0600, whether its gateway runs or not. It reads the
// backup again before it gives it its name, so that a file with this name is complete. Without overwrite, it refuses
// a name that exists. The directory of the file needs space for the database twice meanwhile. Create first removes
// what killed backups left there. A Result with an error has only Notes.
func Create(ctx context.Context, in Installation, file string, withKey, overwrite bool) (Result, error) {
	if err := checkTarget(file, overwrite); err != nil {
		return Result{}, err
	}
	notes := removeAbandoned(filepath.Dir(file), time.Now())
	work, remove, err := makeWorkDir(filepath.Dir(file))
	if err != nil {
		return Result{Notes: notes}, fmt.Errorf("write %s: %w", file, err)
	}
	defer remove()
	result, err := create(ctx, in, work, withKey)
	if err == nil {
		err = publish(filepath.Join(work, archiveName), file, overwrite)
	}
	if err != nil {
		return Result{Notes: notes}, fmt.Errorf("write %s: %w", file, err)
	}
	result.Notes = notes
	return result, nil
}

// archiveName is the name of the backup in the work directory.
const archiveName = "archive"

func create(ctx context.Context, in Installation, work string, withKey bool) (Result, error) {
	m := Manifest{Format: formatVersion, Version: in.Version, URL: in.URL, Created: time.Now().UTC()}
	snapshot := filepath.Join(work, databaseName)
	if err := store.WriteSnapshot(ctx, in.Store, snapshot); err != nil {
		return Result{}, err
	}
	check, err := store.CheckSnapshot(ctx, snapshot, in.Store.Sealer)
	if err != nil {
		return Result{}, err
	}
	m.Schema, m.Instance, m.Rows = check.Schema, check.Instance, check.Rows
	archive := filepath.Join(work, archiveName)
	if err := writeArchive(ctx, in, archive, snapshot, withKey, &m); err != nil {
		return Result{}, err
	}
	if err := os.Remove(snapshot); err != nil {
		return Result{}, err
	}
	if err := verify(ctx, in, archive, work, check); err != nil {
		return Result{}, fmt.Errorf("read the backup again: %w", err)
	}
	info, err := os.Stat(archive)
	if err != nil {
		return Result{}, err
	}
	return Result{Manifest: m, Size: info.Size(), Sealed: check.Sealed, Unreadable: check.Unreadable}, nil
}

// verify reads a new backup as a restore does. want is the check of the snapshot that it contains.
func verify(ctx context.Context, in Installation, archive, work string, want store.SnapshotCheck) error {
	needed := func(name string) bool { return name == databaseName || name == keyName }
	m, err := extract(ctx, archive, work, needed)
	if err != nil {
		return err
	}
	sealer := in.Store.Sealer
	if m.HasKey() { // `slipway rekey` may have replaced it since the snapshot
		if sealer, err = seal.LoadOrCreate(filepath.Join(work, keyName), false); err != nil {
			return err
		}
	}
	got, err := checkDatabase(ctx, filepath.Join(work, databaseName), sealer, m)
	if errors.Is(err, store.ErrWrongKey) || (err == nil && got.Sealed != want.Sealed) {
		return errors.Join(errKeyChanged, err)
	}
	if err != nil {
		return err
	}
	if !maps.Equal(got.Rows, want.Rows) {
		return fmt.Errorf("rows of its database: got %v, want %v", got.Rows, want.Rows)
	}
	return nil
}

// errKeyChanged means that the key in a new backup does not open its database.
var errKeyChanged = errors.New("the key file was changed meanwhile: run the backup again")

// checkTarget refuses a name that cannot become a backup before any work.
func checkTarget(file string, overwrite bool) error {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("write %s: %w", file, err)
	case info.IsDir():
		return fmt.Errorf("write %s: it is a directory: add a name, as %s", file, filepath.Join(file, "slipway.backup"))
	case !info.Mode().IsRegular():
		return fmt.Errorf("write %s: it is no regular file: a backup is read again, so name a file", file)
	case !overwrite:
		return fmt.Errorf("write %s: it exists: choose another name, or overwrite it with --force", file)
	}
	return nil
}

// A writer writes the parts of a backup. It stores each part in the manifest.
type writer struct {
	tar      *tar.Writer
	manifest *Manifest
}

func writeArchive(
	ctx context.Context, in Installation, archive, snapshot string, withKey bool, m *Manifest,
) (err error) {
	f, err := os.OpenFile(archive, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	compressed, err := zstd.NewWriter(f)
	if err != nil {
		return err
	}
	w := writer{tar.NewWriter(compressed), m}
	if err := w.addAll(ctx, in, snapshot, withKey); err != nil {
		return errors.Join(err, compressed.Close())
	}
	if err := errors.Join(w.tar.Close(), compressed.Close()); err != nil {
		return err
	}
	return f.Sync()
}

func (w writer) addAll(ctx context.Context, in Installation, snapshot string, withKey bool) error {
	head := fmt.Sprintf("%d\n", formatVersion)
	if err := w.write(formatName, int64(len(head)), strings.NewReader(head)); err != nil {
		return err
	}
	if err := w.addFile(ctx, databaseName, snapshot); err != nil {
		return err
	}
	if withKey {
		if err := w.addFile(ctx, keyName, in.Key); err != nil {
			return err
		}
	}
	if err := w.addLogs(ctx, in); err != nil {
		return err
	}
	text, err := json.MarshalIndent(w.manifest, "", " ")
	if err != nil {
		return err
	}
	return w.write(manifestName, int64(len(text)), strings.NewReader(string(text)))
}

// addFile adds the bytes that a file has now. A log may grow meanwhile.
func (w writer) addFile(ctx context.Context, name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return w.add(ctx, name, info.Size(), f)
}

// add adds size bytes as a part.
func (w writer) add(ctx context.Context, name string, size int64, r io.Reader) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	sum := sha256.New()
	if err := w.write(name, size, io.TeeReader(contextReader{ctx, r}, sum)); err != nil {
		return fmt.Errorf("add %s: %w", name, err)
	}
	w.manifest.Parts = append(w.manifest.Parts,
		Part{Name: name, Size: size, SHA256: hex.EncodeToString(sum.Sum(nil))})
	return nil
}

func (w writer) write(name string, size int64, r io.Reader) error {
	header := &tar.Header{Name: name, Size: size, Mode: 0o600, ModTime: w.manifest.Created, Format: tar.FormatPAX}
	if err := w.tar.WriteHeader(header); err != nil {
		return err
	}
	_, err := io.CopyN(w.tar, r, size)
	return err
}

// A contextReader fails when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
