package sandbox

import (
	"errors"
	"fmt"
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

// maxTempDir is the length of the longest directory below which BuildKit can make its sockets for ssh. The address
// of a socket has at most 107 bytes.
// https://man7.org/linux/man-pages/man7/unix.7.html
const maxTempDir = 107 - len("/.buildkit-ssh-sock4294967295/ssh_auth_sock")

// stateTempDir is the directory of UseTempDir in a state. A setting may name a directory with other files of its owner,
// for example /var, so it is not tmp.
const stateTempDir = "builder.tmp"

// UseTempDir makes a directory for the temporary files of this process, and sets TMPDIR to it. BuildKit leaves a
// directory behind for each ssh socket, and all its files if it is killed. So the directory is in a state that
// this process has locked, and is deleted by the next process with that state. A state with a long path, or that
// is mounted noexec, gets a directory as of MakeTempDir. remove deletes the directory and restores TMPDIR.
func UseTempDir(state string) (remove func(), err error) {
	dir := filepath.Join(state, stateTempDir)
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("delete the temporary files of an earlier builder: %w", err)
	}
	removeDir := func() { _ = os.RemoveAll(dir) }
	if len(dir) > maxTempDir || MountedNoexec(state) {
		dir, removeDir, err = MakeTempDir("")
	} else {
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("make a directory for temporary files: %w", err)
	}
	before, set := os.LookupEnv(tempDirVariable)
	if err := os.Setenv(tempDirVariable, dir); err != nil {
		return nil, err
	}
	return func() {
		if set {
			_ = os.Setenv(tempDirVariable, before) // cannot fail: it was set so
		} else {
			_ = os.Unsetenv(tempDirVariable)
		}
		removeDir()
	}, nil
}

// tempDirVariable is the variable that os.TempDir reads.
const tempDirVariable = "TMPDIR"

// MountedNoexec reports whether the file system of a directory is mounted noexec, so that no program in it can be
// started. An overlay is a separate mount without that flag.
func MountedNoexec(dir string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(dir, &fs) == nil && fs.Flags&unix.ST_NOEXEC != 0
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
