package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"modernc.org/sqlite"
)

// ErrMoved means that the files of the open SQLite database are no longer at their paths.
var ErrMoved = errors.New("do not restart the gateway, and see docs/operations.md#the-database-file-is-gone")

// fileSuffixes are the endings of the files of an open database in WAL mode.
var fileSuffixes = [...]string{"", "-wal", "-shm"}

// A fileID identifies a file, whatever its name is.
type fileID struct{ device, inode uint64 }

// dataFiles are the files of an open SQLite database. SQLite does not notice when they are deleted
// or replaced: it writes to the deleted files, and their content is lost when the process ends. A
// nil *dataFiles has no files. It is safe for concurrent use.
type dataFiles struct {
	path string

	mu     sync.RWMutex
	opened map[string]fileID // by path
}

// newDataFiles returns the files of the database that f is.
func newDataFiles(f *os.File) (*dataFiles, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return &dataFiles{path: f.Name(), opened: map[string]fileID{f.Name(): idOf(info)}}, nil
}

func idOf(info fs.FileInfo) fileID {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}
	}
	return fileID{device: s.Dev, inode: s.Ino}
}

// record stores which files are open. It must be called after the first transaction, which creates
// all of them. SQLite keeps them until the last connection of all processes is closed.
func (d *dataFiles) record() error {
	if d == nil {
		return nil
	}
	opened := map[string]fileID{}
	for _, suffix := range fileSuffixes {
		info, err := os.Stat(d.path + suffix)
		if err != nil {
			return err
		}
		opened[d.path+suffix] = idOf(info)
	}
	if err := d.check(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opened = opened
	return nil
}

// check returns ErrMoved if a file was deleted or replaced. It takes a few microseconds. After the
// same files are back at their paths, it returns nil again.
func (d *dataFiles) check() error {
	if d == nil {
		return nil
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	for path, opened := range d.opened {
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%s was deleted while the gateway uses it: %w", path, ErrMoved)
		case err != nil:
			return fmt.Errorf("%w: %w", err, ErrMoved)
		case idOf(info) != opened:
			return fmt.Errorf("%s was replaced by another file while the gateway uses it: %w", path, ErrMoved)
		}
	}
	return nil
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
