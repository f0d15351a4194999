// Package durable writes small files that must survive a power loss.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// newSuffix ends the name of a file that is not complete yet.
const newSuffix = ".new"

// WriteFile replaces a file by one with this content and mode. After a crash of the process or the machine, the
// file has the old content or the new one. When WriteFile returns nil, the new content is on the disk. Only one
// writer may write a file at a time.
//
// Without the sync of the file, a file system may store its new name before its content. Without the sync of the
// directory, it may forget the new name. See fsync(2): https://man7.org/linux/man-pages/man2/fsync.2.html
func WriteFile(path string, content []byte, mode fs.FileMode) error {
	if err := writeNew(path+newSuffix, content, mode); err != nil {
		_ = os.Remove(path + newSuffix) // the first error is the one to report
		return err
	}
	if err := os.Rename(path+newSuffix, path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

func writeNew(path string, content []byte, mode fs.FileMode) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // it may have another mode
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(f.Sync(), f.Close())
}

// SyncDir waits until the names of a directory are on the disk: those of new, renamed and removed files. Some file
// systems, for example VirtualBox's shared folders, cannot sync a directory. That is no error, as in PostgreSQL and
// SQLite.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) {
		err = nil
	}
	if err := errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("write the directory %s to the disk: %w", dir, err)
	}
	return nil
}
