package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// publish gives a complete file its name. Without overwrite it never replaces a file, also not one that appeared
// meanwhile.
func publish(from, to string, overwrite bool) error {
	if overwrite {
		if err := os.Rename(from, to); err != nil {
			return err
		}
		return syncPath(filepath.Dir(to))
	}
	linked := os.Link(from, to)
	if errors.Is(linked, fs.ErrExist) {
		return errors.New("it appeared meanwhile: choose another name")
	}
	if linked != nil { // the file system has no links
		if err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE); err != nil {
			return err
		}
	}
	return syncPath(filepath.Dir(to))
}

// syncPath waits until a file or directory is on the disk.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// syncTree syncs everything below a directory, and the directory.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncPath(path)
	})
}

// GiveTo gives everything below a path to the owner of a directory, if this process is root. So a gateway that runs
// as an ordinary user can use what root restored.
func GiveTo(path, like string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(like)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("find the owner of %s", like)
	}
	parent, err := os.OpenRoot(filepath.Dir(path)) // the owner of the directory may exchange what is in it
	if err != nil {
		return err
	}
	defer func() { _ = parent.Close() }()
	return fs.WalkDir(parent.FS(), filepath.Base(path), func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return parent.Lchown(name, int(owner.Uid), int(owner.Gid))
	})
}
