// Package crashsafe deletes the state of a builder if the machine may have lost a part of it.
//
// The kernel keeps all writes of a builder that is killed, for example for lack of memory. It loses those of the
// last seconds if the machine crashes or loses power. Then BuildKit's databases may refer to files that are empty
// or absent. So each state has a record of the machine's boot that uses it. A builder that closes its state writes
// everything to the disk, and only then records that the state is closed. A later boot uses only a closed state.
package crashsafe

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"slipway/config/durable"
)

// recordFile is the name of the record in a state directory. It is no .json file, because the pool of layers takes
// each of those for a layer.
const recordFile = "origin"

// discardPrefix begins the names of directories with discarded content.
const discardPrefix = ".discarded-"

// A record is the content of the file recordFile.
type record struct {
	Machine
	Open  bool   `json:"open"`            // a builder uses the state
	Inode uint64 `json:"inode,omitempty"` // of the state directory; a copy of the directory has another
}

// The reasons to discard a state.
const (
	reasonUnknown = "it has no record of a clean end, for example because an earlier release wrote it"
	reasonDamaged = "the record of its last end cannot be read"
	reasonMachine = "it comes from another machine"
	reasonBoot    = "the machine crashed or lost power while a builder used it"
	reasonCopy    = "it is a copy of a state that was in use"
)

// contents returns patterns of the entries of a state directory that hold the cache. The others are locks, sockets
// and mount points. A directory that a setting names may hold other files of its owner.
func contents() []string {
	return []string{"cache.db*", "history.db*", "runc-overlayfs", "runc-native", "disk-*.img*"}
}

// Check returns the reason why a builder on this machine must not use a state; "" = it may use it. The state
// directory may be absent. No builder may be using it.
func Check(dir string, m Machine) (reason string, err error) {
	text, err := os.ReadFile(filepath.Join(dir, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		found, err := list(dir)
		if err == nil && found != nil {
			reason = reasonUnknown
		}
		return reason, err
	}
	if err != nil {
		return "", fmt.Errorf("read the record of a builder's state: %w", err)
	}
	inode, err := inodeOf(dir)
	if err != nil {
		return "", err
	}
	return decide(text, m, inode), nil
}

// decide returns the reason to discard a state with this record; "" = none.
func decide(text []byte, m Machine, inode uint64) string {
	var r record
	switch err := json.Unmarshal(text, &r); {
	case err != nil:
		return reasonDamaged
	case r.ID != "" && m.ID != "" && r.ID != m.ID:
		return reasonMachine
	case !r.Open:
		return ""
	case r.Boot == "" || r.Boot != m.Boot:
		return reasonBoot
	case r.Inode != inode:
		return reasonCopy
	}
	return ""
}

// Begin records that a builder on this machine uses the state in an existing directory. The record is on the disk
// when Begin returns. Call it before anything else is written.
func Begin(dir string, m Machine) error {
	inode, err := inodeOf(dir)
	if err != nil {
		return err
	}
	return write(dir, record{Machine: m, Open: true, Inode: inode})
}

// Mark records that the directory is complete and belongs to this machine. Call it after everything in it is on the
// disk. If the directory has such a record of an earlier boot, Mark keeps it, so it works on a full disk.
func Mark(dir string, m Machine) error {
	var old record
	text, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err == nil && json.Unmarshal(text, &old) == nil && !old.Open && old.ID == m.ID && old.ID != "" {
		m.Boot = old.Boot // the boot does not matter without an open state
	}
	return write(dir, record{Machine: m})
}

// write stores a record. A killed builder may have left the same one before its name was on the disk.
func write(dir string, r record) error {
	path := filepath.Join(dir, recordFile)
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if old, readErr := os.ReadFile(path); readErr == nil && string(old) == string(text) {
		err = durable.SyncDir(dir)
	} else {
		err = durable.WriteFile(path, text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("record the use of a builder's state: %w", err)
	}
	return nil
}

// A State is a state directory that a builder uses.
type State struct {
	dir     string
	machine Machine
}

// Open begins the use of the state in an existing directory by a builder of this machine. If the state cannot be
// used, Open deletes it, and calls discarded with the reason. The files are deleted in the background, because a
// large cache takes a while. The caller has the lock of the directory.
func Open(dir string, m Machine, discarded func(reason string)) (*State, error) {
	reason, err := Check(dir, m)
	if err != nil {
		return nil, err
	}
	if reason != "" {
		if err := discard(dir); err != nil {
			return nil, fmt.Errorf("delete the cache in %s, because %s: %w: delete it by hand", dir, reason, err)
		}
		discarded(reason)
	}
	if err := Begin(dir, m); err != nil {
		return nil, err
	}
	old, err := glob(dir, []string{discardPrefix + "*"})
	if err != nil {
		return nil, err
	}
	go func() {
		for _, path := range old {
			_ = os.RemoveAll(path) // the next Open tries again
		}
	}()
	return &State{dir: dir, machine: m}, nil
}

// discard moves the content of a state to a directory that Open deletes. A rename is fast, needs no free space, and
// leaves no state half deleted: without cache.db, BuildKit would still use the other databases.
func discard(dir string) error {
	found, err := list(dir)
	if err != nil {
		return err
	}
	away := filepath.Join(dir, discardPrefix+rand.Text())
	if err := os.Mkdir(away, 0o700); err != nil {
		return err
	}
	for _, path := range found {
		if err := os.Rename(path, filepath.Join(away, filepath.Base(path))); err != nil {
			return err
		}
	}
	return nil
}

// list returns the paths of the content of a state.
func list(dir string) (found []string, err error) {
	return glob(dir, contents())
}

// glob returns the paths below a directory that match any of the patterns. The name of the directory may have any
// characters, also those of a pattern.
func glob(dir string, patterns []string) (found []string, err error) {
	for _, pattern := range patterns {
		names, err := fs.Glob(os.DirFS(dir), pattern)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			found = append(found, filepath.Join(dir, name))
		}
	}
	return found, nil
}

func inodeOf(dir string) (uint64, error) {
	var stat unix.Stat_t
	if err := unix.Stat(dir, &stat); err != nil {
		return 0, fmt.Errorf("read the inode of %s: %w", dir, err)
	}
	return stat.Ino, nil
}

// databases are patterns of the databases of a state.
func databases() []string { return []string{"*.db", "runc-*/*.db", "runc-*/snapshots/*.db"} }

// Close writes the state to the disk, and records that it is closed. Call it after all databases are closed and all
// processes with files in the state have ended. If Close is not called, or fails, the state is used again only
// until the machine's next boot.
func (s *State) Close() error {
	if err := s.sync(); err != nil {
		return fmt.Errorf("write the cache in %s to the disk: %w", s.dir, err)
	}
	return Mark(s.dir, s.machine)
}

// sync writes the databases and then the whole file system to the disk. Before Linux 5.8, syncfs(2) does not report
// write errors, so the databases, on which the rest depends, are synced by themselves.
func (s *State) sync() error {
	paths, err := glob(s.dir, databases())
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := syncWith(path, unix.Fsync); err != nil {
			return err
		}
	}
	return syncWith(s.dir, unix.Syncfs)
}

// syncWith calls fsync(2) or syncfs(2) for a file or directory.
func syncWith(path string, sync func(fd int) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = sync(int(f.Fd()))
	return cmp.Or(err, f.Close())
}
