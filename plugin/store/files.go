package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
)

// ErrMoved means that the files of the open SQLite database are no longer at their paths.
var ErrMoved = errors.New("do not restart the gateway, and see docs/operations.md#the-database-file-is-gone")

// fileSuffixes are the endings of the files of an open database in WAL mode.
var fileSuffixes = [...]string{"", "-wal", "-shm"}

// A fileID identifies a file, whatever its name is. Some FUSE and network file systems change it.
type fileID struct{ device, inode uint64 }

// An openedFile is one file of the open database.
type openedFile struct {
	id fileID
	// handle refers to the file without opening it (O_PATH): to close another descriptor of the file would release
	// SQLite's locks.
	handle *os.File
}

// dataFiles are the files of an open SQLite database. SQLite does not notice when they are deleted
// or replaced: it writes to the deleted files, and their content is lost when the process ends. A
// nil *dataFiles has no files. It is safe for concurrent use.
type dataFiles struct {
	path     string
	identify func(fs.FileInfo) fileID // idOf, except in tests

	mu     sync.RWMutex
	opened map[string]openedFile // by path
}

// newDataFiles returns the files of the database that f is.
func newDataFiles(f *os.File) (*dataFiles, error) {
	d := &dataFiles{path: f.Name(), identify: idOf}
	file, err := d.refer(fdPath(f))
	if err != nil {
		return nil, err
	}
	d.opened = map[string]openedFile{d.path: file}
	return d, nil
}

func idOf(info fs.FileInfo) fileID {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}
	}
	return fileID{device: s.Dev, inode: s.Ino}
}

// refer returns the file at a path.
func (d *dataFiles) refer(path string) (openedFile, error) {
	handle, err := os.OpenFile(path, unix.O_PATH, 0)
	if err != nil {
		return openedFile{}, err
	}
	info, err := handle.Stat()
	if err != nil {
		return openedFile{}, errors.Join(err, handle.Close())
	}
	return openedFile{d.identify(info), handle}, nil
}

func fdPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// record stores which files are open. It must be called after the first transaction, which creates
// all of them. SQLite keeps them until the last connection of all processes is closed.
func (d *dataFiles) record() error {
	if d == nil {
		return nil
	}
	opened := map[string]openedFile{}
	var err error
	for _, suffix := range fileSuffixes {
		file, e := d.refer(d.path + suffix)
		if e != nil {
			err = e
			break
		}
		opened[d.path+suffix] = file
	}
	if err == nil {
		err = d.check()
	}
	if err != nil {
		return errors.Join(err, closeHandles(opened))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.opened
	d.opened = opened
	return closeHandles(before)
}

func closeHandles(files map[string]openedFile) (err error) {
	for _, file := range files {
		err = errors.Join(err, file.handle.Close())
	}
	return err
}

// close ends all checks. They return nil then.
func (d *dataFiles) close() error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.opened
	d.opened = nil
	return closeHandles(before)
}

// check returns ErrMoved if a file was deleted or replaced. It takes a few microseconds. After the
// same files are back at their paths, it returns nil again.
func (d *dataFiles) check() error {
	if d == nil {
		return nil
	}
	changed, err := d.compare()
	if err != nil || !changed {
		return err
	}
	return d.recheck()
}

// compare reports whether a file at one of the paths has another device or inode than the opened one.
func (d *dataFiles) compare() (changed bool, err error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for path, opened := range d.opened {
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return false, fmt.Errorf("%s was deleted while the gateway uses it: %w", path, ErrMoved)
		case err != nil:
			return false, fmt.Errorf("%w: %w", err, ErrMoved)
		case d.identify(info) != opened.id:
			changed = true
		}
	}
	return changed, nil
}

// recheck returns ErrMoved unless all files are those that are open. The file system may have changed the inode of
// the same file; then recheck stores the new one.
func (d *dataFiles) recheck() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for path, opened := range d.opened {
		info, err := os.Stat(path)
		if err != nil || !isSameFile(opened.handle, path) {
			return fmt.Errorf("%s was replaced by another file while the gateway uses it: %w", path, ErrMoved)
		}
		d.opened[path] = openedFile{d.identify(info), opened.handle}
	}
	return nil
}

// isSameFile reports whether a file is at a path, whatever its inode is. It gives the file a time of last access and
// looks for it at the path; nothing else uses that time. Another process may change it meanwhile, so it tries again.
func isSameFile(f *os.File, path string) bool {
	setAccessed := func(at unix.Timespec) error {
		times := []unix.Timespec{at, {Nsec: unix.UTIME_OMIT}}
		return unix.UtimesNanoAt(unix.AT_FDCWD, fdPath(f), times, 0)
	}
	for range 3 {
		// A read replaces times of the past (relatime). Whole seconds suit every file system.
		mark := time.Now().Unix() + rand.Int64N(1<<27) //nolint:gosec // need not be secret
		if setAccessed(unix.Timespec{Sec: mark}) != nil {
			return false
		}
		var got unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_FORCE_SYNC, unix.STATX_ATIME, &got)
		_ = setAccessed(unix.Timespec{Nsec: unix.UTIME_NOW}) // a time in the future does no harm either
		if err == nil && got.Atime.Sec == mark {
			return true
		}
	}
	return false
}

// A guardedConnector opens connections to the recorded files only, and none of its connections
// commits after these were deleted or replaced.
type guardedConnector struct {
	driver.Connector
	files *dataFiles
}

func (c guardedConnector) Connect(ctx context.Context) (driver.Conn, error) {
	if err := c.files.check(); err != nil {
		return nil, err
	}
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.files.check(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	hooks, ok := conn.(sqlite.HookRegisterer)
	if !ok {
		return nil, errors.Join(fmt.Errorf("unexpected connection type %T", conn), conn.Close())
	}
	hooks.RegisterCommitHook(func() int32 {
		if c.files.check() != nil {
			return 1 // SQLite rolls back
		}
		return 0
	})
	return conn, nil
}
