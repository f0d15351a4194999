package backup

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	workPrefix = ".slipway-backup-" // begins the names of work directories
	ownerName  = "owner"            // file in a work directory: locked while its backup runs, holds the host's name

	// abandonedAfter is the age from which a work directory without a reliable lock is that of a killed backup. A
	// backup takes minutes.
	abandonedAfter = 24 * time.Hour
)

// makeWorkDir makes a directory with mode 0700 for one backup. The caller must call remove. A killed process leaves
// the directory, but the kernel releases its lock, so that removeAbandoned finds it.
func makeWorkDir(parent string) (dir string, remove func(), err error) {
	if dir, err = os.MkdirTemp(parent, workPrefix); err != nil {
		return "", nil, err
	}
	owner, err := os.OpenFile(filepath.Join(dir, ownerName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	remove = func() { _ = errors.Join(os.RemoveAll(dir), owner.Close()) }
	err = lock(owner)
	var host string
	if err == nil {
		host, err = os.Hostname()
	}
	if err == nil {
		_, err = owner.WriteString(host)
	}
	if err != nil {
		remove()
		return "", nil, err
	}
	return dir, remove, nil
}

// lock locks the file of a new work directory. If another backup inspects the directory at this moment, it waits.
// Some network file systems have no locks. There, a work directory is kept for a day.
func lock(owner *os.File) error {
	for {
		err := unix.Flock(int(owner.Fd()), unix.LOCK_EX)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOLCK), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return nil
		case err != nil:
			return fmt.Errorf("lock %s: %w", owner.Name(), err)
		}
		return nil
	}
}

// removeAbandoned removes the work directories of killed backups in a directory, which may hold the key. It returns a
// line for each, also if it cannot remove it. It skips those of other users, because it may not trust their content.
func removeAbandoned(parent string, now time.Time) (notes []string) {
	entries, _ := os.ReadDir(parent) // a directory that may not be listed can still take a backup
	for _, entry := range entries {
		dir := filepath.Join(parent, entry.Name())
		if !strings.HasPrefix(entry.Name(), workPrefix) || !isOwnDir(dir) {
			continue
		}
		abandoned, unlock := inspectWorkDir(dir, now)
		if abandoned {
			note := fmt.Sprintf("removed %s, which a killed backup left", dir)
			if err := os.RemoveAll(dir); err != nil {
				note = fmt.Sprintf("a killed backup left %s: %v: delete it, because it may hold the key", dir, err)
			}
			notes = append(notes, note)
		}
		unlock()
	}
	return notes
}

// inspectWorkDir reports whether the backup of a work directory was killed. Until unlock, it holds the lock if it got
// it.
func inspectWorkDir(dir string, now time.Time) (abandoned bool, unlock func()) {
	unlock = func() {}
	info, err := os.Lstat(dir)
	if err != nil {
		return false, unlock
	}
	w := workDir{age: now.Sub(info.ModTime())}
	f, err := os.OpenFile(filepath.Join(dir, ownerName), os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return w.abandoned(), unlock // killed before it made the file, or of an older version
	}
	unlock = func() { _ = f.Close() }
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	w.running, w.locked = errors.Is(err, unix.EWOULDBLOCK), err == nil
	host, hostErr := os.Hostname()
	content, readErr := io.ReadAll(io.LimitReader(f, 1<<10))
	w.sameHost = hostErr == nil && readErr == nil && string(content) == host
	return w.abandoned(), unlock
}

// A workDir is the observed state of a work directory.
type workDir struct {
	running  bool          // another process has the lock
	locked   bool          // this process has got the lock
	sameHost bool          // its backup ran on this host
	age      time.Duration // since the last new file in it
}

// abandoned reports whether its backup was killed. On another host's directory, the lock of a network file system may
// be unknown here, so only age counts.
func (w workDir) abandoned() bool {
	switch {
	case w.running:
		return false
	case w.locked && w.sameHost:
		return true
	}
	return w.age > abandonedAfter
}

// isOwnDir reports whether a path is a directory of this user, and no symbolic link.
func isOwnDir(path string) bool {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return false
	}
	return st.Mode&unix.S_IFMT == unix.S_IFDIR && int(st.Uid) == os.Geteuid()
}

// removeStaging removes the staging directories of killed restores. The caller has locked the data directory, so no
// restore runs. They may hold the key.
func removeStaging(data string) error {
	entries, err := os.ReadDir(data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), stagingPrefix) && entry.IsDir() {
			err = errors.Join(err, os.RemoveAll(filepath.Join(data, entry.Name())))
		}
	}
	return err
}
