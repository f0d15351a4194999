package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// emptyDirectories are directories of each root file system. Packages expect the directories below /var.
func emptyDirectories() []string {
	return []string{
		"boot", "dev", "etc", "home", "media", "mnt", "opt", "proc", "root", "run/lock", "srv", "sys", "tmp",
		"usr", "var/cache/apt/archives/partial", "var/cache/debconf", "var/lib/apt/lists/partial",
		"var/lib/dpkg", "var/lib/misc", "var/local", "var/log/apt", "var/mail", "var/spool", "var/tmp",
		WorkspacePath, filepath.Dir(InitPath),
	}
}

// makeTree makes the directories and links of a root file system.
func makeTree(root string) error {
	for _, dir := range emptyDirectories() {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil { //nolint:gosec // G301: as on each machine
			return err
		}
	}
	for _, dir := range []string{"tmp", "var/tmp", "run/lock"} {
		if err := os.Chmod(filepath.Join(root, dir), 0o777|fs.ModeSticky); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(root, "root"), 0o700); err != nil { //nolint:gosec // G302: a directory
		return err
	}
	//nolint:gosec // G306: a program; only a mount point
	if err := os.WriteFile(filepath.Join(root, InitPath), nil, 0o755); err != nil {
		return err
	}
	for link, target := range map[string]string{"var/run": "/run", "var/lock": "/run/lock"} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			return err
		}
	}
	for _, dir := range defaultDirectories() { // /bin, /lib: links, if they were merged with /usr
		target, err := os.Readlink(dir)
		if err != nil {
			continue
		}
		if err := os.Symlink(target, filepath.Join(root, dir)); err != nil {
			return err
		}
	}
	return nil
}

// copyTree copies the files that every user may read, with directories and symbolic links. Owners are not
// copied. It succeeds if from does not exist.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // deleted meanwhile
		}
		target := to + strings.TrimPrefix(path, from)
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			return copyLink(path, target)
		case !isPublic(info.Mode()):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return os.MkdirAll(target, 0o755) //nolint:gosec // G301: as on each machine
		case info.Mode().IsRegular():
			return copyPublicFile(path, target, info.Mode().Perm())
		}
		return nil
	})
}

// treeSize returns the bytes and the number of files and directories that a copy of a directory needs on a
// disk with blocks of 4 KiB.
func treeSize(dir string) (bytes, files int64, err error) {
	const block = 4096
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted meanwhile
		}
		if err != nil {
			return err
		}
		files++
		if info, err := d.Info(); err == nil { // an error means that it was deleted meanwhile
			bytes += (info.Size() + block - 1) / block * block
		}
		return nil
	})
	return bytes, files, err
}

func copyLink(from, to string) error {
	target, err := os.Readlink(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // G301: as on each machine
		return err
	}
	return os.Symlink(target, to)
}

// copyPublicFile copies a file, unless its text has a URL with a password.
func copyPublicFile(from, to string, mode fs.FileMode) error {
	text, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil // deleted meanwhile, or not for this user either
	}
	if err != nil {
		return err
	}
	if hasCredential(text) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // G301: as on each machine
		return err
	}
	return os.WriteFile(to, text, mode) //nolint:gosec // G703: nothing of the sandbox has run yet
}

// copyFile copies a large file.
func copyFile(from, to string, mode fs.FileMode) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}

// chownTree gives all files to root of the sandbox. It does not follow links.
func chownTree(dir string, owner int) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, owner, owner) //nolint:gosec // G122: nothing of the sandbox has run yet
	})
}

// writeFiles writes files into the root file system. It follows no link out of it.
func writeFiles(dir string, owner int, files []File) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, f := range files {
		if err := writeFile(root, owner, f); err != nil {
			return fmt.Errorf("write %s of the sandbox: %w", f.Path, err)
		}
	}
	return nil
}

func writeFile(root *os.Root, owner int, f File) error {
	name := strings.TrimPrefix(filepath.Clean(f.Path), "/")
	mode := f.Mode
	if mode == 0 {
		mode = 0o644
	}
	if f.Replace {
		if _, err := root.Stat(name); err != nil {
			return nil //nolint:nilerr // there is no such file, or a link leads out of the sandbox
		}
	}
	if err := makeDirs(root, owner, filepath.Dir(name)); err != nil {
		return err
	}
	// The machine may have a link at the path. Without Remove, the write would follow it.
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := root.WriteFile(name, f.Data, mode); err != nil {
		return err
	}
	return root.Lchown(name, owner, owner)
}

func makeDirs(root *os.Root, owner int, dir string) error {
	if dir == "." {
		return nil
	}
	if err := makeDirs(root, owner, filepath.Dir(dir)); err != nil {
		return err
	}
	err := root.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return root.Lchown(dir, owner, owner)
}
