package localcontext

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
)

// A listing is a directory that changes while it is read. Its walk returns fixed names.
type listing struct {
	stats []types.Stat
	open  func(path string) (io.ReadCloser, error)
	done  func() // called after the listing; may be nil
}

func (l listing) Walk(_ context.Context, _ string, visit fs.WalkDirFunc) error {
	for i := range l.stats {
		if err := visit(l.stats[i].Path, fs.FileInfoToDirEntry(&fsutil.StatInfo{Stat: &l.stats[i]}), nil); err != nil {
			if errors.Is(err, fs.ErrNotExist) { // fsutil continues too
				continue
			}
			return err
		}
	}
	if l.done != nil {
		l.done()
	}
	return nil
}

func (l listing) Open(path string) (io.ReadCloser, error) { return l.open(path) }

func dropped(fsutil.ChangeKind, string, fs.FileInfo, error) error { return nil }

func zeroes(string) (io.ReadCloser, error) { return os.Open("/dev/zero") }

// A directory may become a link after it was listed. The copy does not follow the link.
func TestACopyIsNotWrittenThroughALink(t *testing.T) {
	outside := t.TempDir()
	files := listing{open: func(string) (io.ReadCloser, error) { return os.Open("/dev/null") }, stats: []types.Stat{
		{Path: "a", Mode: uint32(fs.ModeSymlink | 0o777), Linkname: outside}, {Path: "a/x", Mode: 0o644},
	}}
	err := copyFiles(t.Context(), files, t.TempDir(), dropped)
	if err == nil {
		t.Error("copy through a link: got no error, want one")
	}
	left, err := os.ReadDir(outside)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 0 {
		t.Errorf("files behind the link: got %v, want none", left)
	}
}

// The copy makes a hard link only after it has copied the link's target, even if that takes long.
func TestALinkWaitsForItsFile(t *testing.T) {
	needRoot(t)
	listed := make(chan struct{})
	files := listing{
		done:  func() { close(listed) },
		stats: []types.Stat{{Path: "a", Mode: 0o644}, {Path: "b", Mode: 0o644, Linkname: "a"}},
	}
	files.open = func(string) (io.ReadCloser, error) {
		<-listed
		return os.Open("/dev/null")
	}
	dir := t.TempDir()
	if err := copyFiles(t.Context(), files, dir, dropped); err != nil {
		t.Fatal(err)
	}
	a, errA := os.Stat(filepath.Join(dir, "a"))
	b, errB := os.Stat(filepath.Join(dir, "b"))
	if err := errors.Join(errA, errB); err != nil || !os.SameFile(a, b) {
		t.Errorf("hard link: got two files, or error %v, want one", err)
	}
}

// The copy of an endless file stops when its context ends.
func TestACopyEndsWithItsContext(t *testing.T) {
	needRoot(t)
	ctx, cancel := context.WithCancel(t.Context())
	files := listing{done: cancel, open: zeroes, stats: []types.Stat{{Path: "a", Mode: 0o644}}}
	if err := copyFiles(ctx, files, t.TempDir(), dropped); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled copy: got error %v, want %v", err, context.Canceled)
	}
	none := listing{done: cancel}
	if err := copyFiles(ctx, none, t.TempDir(), dropped); !errors.Is(err, context.Canceled) {
		t.Errorf("without files: got error %v, want %v", err, context.Canceled)
	}
}

// Every error of a file fails the copy. fsutil's walk, in contrast, ignores a missing file.
func TestACopyIsWholeOrFails(t *testing.T) {
	refuse := func(_ fsutil.ChangeKind, path string, _ fs.FileInfo, _ error) error {
		if path == "a" {
			return fs.ErrNotExist
		}
		return nil
	}
	folder := listing{
		stats: []types.Stat{
			{Path: "a", Mode: uint32(fs.ModeDir | 0o755)},
			{Path: "b", Mode: uint32(fs.ModeDir | 0o755)},
		},
	}
	if err := copyFiles(t.Context(), folder, t.TempDir(), refuse); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("directory: got error %v, want %v", err, fs.ErrNotExist)
	}
	denied := listing{
		stats: []types.Stat{{Path: "a", Mode: 0o644}},
		open:  func(string) (io.ReadCloser, error) { return nil, fs.ErrPermission },
	}
	if err := copyFiles(t.Context(), denied, t.TempDir(), dropped); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("file: got error %v, want %v", err, fs.ErrPermission)
	}
}
