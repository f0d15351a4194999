package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// tempDirs matches the directories of steps.
	tempDirs = "slipway-[0-9]*"
	// ownerFile is locked by the step that made a directory, as long as it runs.
	ownerFile = "owner.lock"
	// youngest is the age below which a directory without a lock may still get one.
	youngest = time.Minute
)

// MakeTempDir makes a directory for this process below another; empty = the system's directory for temporary
// files. remove deletes it. If this process is killed, the next call deletes it.
func MakeTempDir(below string) (dir string, remove func(), err error) {
	if below == "" {
		below = os.TempDir()
	}
	sweepDirs(below)
	dir, release, err := makeDir(below)
	if err != nil {
		return "", nil, err
	}
	return dir, func() { _ = os.RemoveAll(dir); release() }, nil
}

// makeDir makes a directory, which sweepDirs leaves alone until release or the end of this process.
func makeDir(below string) (dir string, release func(), err error) {
	dir, err = os.MkdirTemp(below, "slipway-")
	if err != nil {
		return "", nil, err
	}
	file, err := lockOwner(dir, os.O_CREATE)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, func() { _ = file.Close() }, nil
}

// sweepDirs removes the directories of steps that were killed (SIGKILL). The kernel has ended their children.
// What it may not remove stays: it belongs to another user.
func sweepDirs(below string) {
	dirs, _ := filepath.Glob(filepath.Join(below, tempDirs)) // the pattern is valid
	for _, dir := range dirs {
		info, err := os.Lstat(filepath.Join(dir, ownerFile))
		if err != nil || time.Since(info.ModTime()) < youngest {
			continue // not one of these directories, or one that is being made
		}
		file, err := lockOwner(dir, 0)
		if err != nil {
			continue // its step runs
		}
		_ = os.RemoveAll(dir)
		_ = file.Close()
	}
}

// lockOwner locks a directory for this process. It does not wait.
func lockOwner(dir string, flags int) (*os.File, error) {
	path := filepath.Join(dir, ownerFile)
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}
