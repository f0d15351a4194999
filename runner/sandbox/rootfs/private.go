package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// findPrivate returns the files and directories below dir that not every user may read, relative to dir.
// Root of a sandbox could read them, because the kernel maps it to the machine's root there.
func findPrivate(ctx context.Context, dir string) (private []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted meanwhile
		}
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		if path == dir || d.Type()&fs.ModeSymlink != 0 {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // deleted meanwhile
		}
		if isPublic(info.Mode()) {
			return nil
		}
		private = append(private, strings.TrimPrefix(path, dir+"/"))
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	return private, err
}

// isPublic reports whether every user may read a file, or list and traverse a directory.
func isPublic(mode fs.FileMode) bool {
	if mode.IsDir() {
		return mode&0o005 == 0o005
	}
	return mode&0o004 != 0
}

// hide puts a whiteout into the upper layer for each path, so that the overlay does not show it.
func hide(dir, upper string, owner int, paths []string) error {
	for _, path := range paths {
		err := copyParents(dir, upper, owner, filepath.Dir(path))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since it was found
		}
		if err != nil {
			return err
		}
		// A whiteout is a character device 0:0. It needs no right to make devices.
		err = unix.Mknod(filepath.Join(upper, path), unix.S_IFCHR, 0)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("hide %s: %w", filepath.Join(dir, path), err)
		}
	}
	return nil
}

// copyParents makes the directories of a path in the upper layer. It copies the modes of the machine's
// directories, because the overlay shows the modes in the upper layer.
func copyParents(dir, upper string, owner int, path string) error {
	if path == "." {
		return nil
	}
	if err := copyParents(dir, upper, owner, filepath.Dir(path)); err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(dir, path))
	if err != nil {
		return err
	}
	target := filepath.Join(upper, path)
	if err := os.Mkdir(target, 0o755); errors.Is(err, fs.ErrExist) { //nolint:gosec // G301: changed below
		return nil
	} else if err != nil {
		return err
	}
	stat := info.Sys().(*syscall.Stat_t) // always, on Linux
	if err := os.Lchown(target, owner+int(stat.Uid), owner+int(stat.Gid)); err != nil {
		return err
	}
	return os.Chmod(target, info.Mode()&(fs.ModePerm|fs.ModeSticky|fs.ModeSetgid))
}
