// Package buildcontext reads the directories of a build: the build context and the directory of the
// Dockerfile. It corrects what BuildKit's package fsutil does to content: fsutil sends an unreadable file as
// an empty one, skips the files after a deleted one, and confuses hard links of two file systems.
package buildcontext

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/tonistiigi/fsutil"
	"golang.org/x/sys/unix"
)

// A Dir is a directory in the form that BuildKit's client and server take. It is safe for concurrent use.
type Dir struct {
	files  fsutil.FS
	path   string // without symbolic links
	failed func()

	mu     sync.Mutex
	unread *ReadError
}

var _ fsutil.FS = (*Dir)(nil)

// Open opens a directory. failed is called at the first file that the builder needs and that cannot be read; it
// may be nil. It has to end the build: fsutil's transfer of other files waits forever, and the Dockerfile frontend
// ignores an error of .dockerignore.
func Open(path string, failed func()) (*Dir, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	files, err := fsutil.NewFS(real)
	if err != nil {
		return nil, err
	}
	if failed == nil {
		failed = func() {}
	}
	return &Dir{files: files, path: real, failed: failed}, nil
}

// A ReadError reports a file or directory of the build context that cannot be read.
type ReadError struct {
	Path string // relative to the context
	Err  error
}

// Error returns the path, the cause and the fix.
func (e *ReadError) Error() string {
	var failed *fs.PathError
	cause := e.Err
	if errors.As(cause, &failed) {
		cause = failed.Err // the path is in the text already
	}
	fix := "make it readable for the user of this build, or list it in .dockerignore"
	switch {
	case errors.Is(e.Err, fs.ErrNotExist):
		fix = "it was deleted while the context was read: let no other program write to the context during the build"
	case e.Path == ".", strings.HasSuffix(e.Path, ignoreName):
		fix = "make it readable for the user of this build" // no pattern excludes it
	}
	return fmt.Sprintf("read the build context: %s: %v: %s", e.Path, cause, fix)
}

// Unwrap returns the operating system's error.
func (e *ReadError) Unwrap() error { return e.Err }

// Err returns the first file that the builder needed and that could not be read, or nil.
func (d *Dir) Err() *ReadError {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unread
}

// fail records and returns the error of a file.
func (d *Dir) fail(path string, err error) error {
	failure := &ReadError{Path: filepath.ToSlash(path), Err: err}
	if d.record(failure) {
		d.failed()
	}
	return failure
}

// record reports whether it recorded the error, because it is the first one.
func (d *Dir) record(err *ReadError) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	first := d.unread == nil
	if first {
		d.unread = err
	}
	return first
}

// Open opens a file. An error is recorded and comes from the first Read, because fsutil ignores an error of
// Open. A socket is an empty file, as for BuildKit.
func (d *Dir) Open(path string) (io.ReadCloser, error) {
	file, err := d.files.Open(path)
	switch {
	case errors.Is(err, unix.ENXIO):
		return io.NopCloser(strings.NewReader("")), nil
	case err != nil:
		return unreadable{d.fail(path, err)}, nil
	}
	return reader{file, d, path}, nil
}

// errVanished is the error of a file that was deleted after its directory was listed. It does not wrap
// fs.ErrNotExist: for that, fsutil skips all further files of the directory.
var errVanished = errors.New("the file was deleted")

// Walk calls visit for all files below target.
func (d *Dir) Walk(ctx context.Context, target string, visit fs.WalkDirFunc) error {
	if err := d.checkRoot(); err != nil {
		return d.fail(".", err)
	}
	links := &hardLinks{dir: d.path, first: map[fileID]string{}}
	return d.files.Walk(ctx, target, func(path string, found fs.DirEntry, err error) error {
		if found != nil {
			found = entry{DirEntry: found, dir: d, path: path, links: links}
		}
		result := visit(path, found, err)
		switch {
		case errors.Is(result, errVanished):
			return nil
		case err != nil && errors.Is(result, err) && !errors.Is(err, fs.ErrNotExist):
			return d.fail(path, err) // the visitor needs the directory
		}
		return result
	})
}

// checkRoot fails if the directory itself cannot be listed. fsutil takes it for an empty one then.
func (d *Dir) checkRoot() error {
	root, err := os.Open(d.path)
	if err != nil {
		return err
	}
	defer root.Close()
	if _, err := root.Readdirnames(1); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// An entry is a file of a Dir.
type entry struct {
	fs.DirEntry
	dir   *Dir
	path  string
	links *hardLinks
}

// Info returns the description of the file. Its Sys is a *types.Stat of fsutil.
func (e entry) Info() (fs.FileInfo, error) {
	info, err := e.DirEntry.Info()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errVanished
	case err != nil:
		return nil, e.dir.fail(e.path, err)
	}
	return e.links.correct(e.path, info)
}

// A reader reads a file and records its error, for example that of a damaged disk.
type reader struct {
	io.ReadCloser
	dir  *Dir
	path string
}

func (r reader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = r.dir.fail(r.path, err)
	}
	return n, err
}

// An unreadable file fails when it is read.
type unreadable struct{ err error }

func (u unreadable) Read([]byte) (int, error) { return 0, u.err }
func (unreadable) Close() error               { return nil }
