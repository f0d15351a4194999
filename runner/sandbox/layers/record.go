package layers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// recordDir is the directory of recorded links below a builder's state. Each is a copy of the link.
const recordDir = "layers"

// Record records the links of all snapshots again, and forgets those of deleted snapshots. Call it before
// the builder starts, when the disk of its snapshots is mounted below the state. Without State it does
// nothing.
func (p Pool) Record() error {
	if p.State == "" {
		return nil
	}
	unlock, err := p.lock(unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer unlock()
	dir := filepath.Join(p.State, recordDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("record the used layers: %w", err)
	}
	used := snapshotLinks(p.State)
	for _, target := range readLinks(filepath.Join(dir, "*")) {
		if slices.Contains(used, target) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, filepath.Base(target))); err != nil {
			return fmt.Errorf("record the used layers: %w", err)
		}
	}
	for _, target := range used {
		if err := p.record(target); err != nil {
			return err
		}
	}
	return nil
}

// record records a link. The caller has the lock of the pool.
func (p Pool) record(target string) error {
	if p.State == "" {
		return nil
	}
	err := os.Symlink(target, filepath.Join(p.State, recordDir, filepath.Base(target)))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("record the used layers: %w", err)
	}
	return nil
}
