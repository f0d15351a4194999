package layers

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Open makes the directory of a pool. Call it before a builder uses the pool.
func (p Pool) Open() error {
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of shared layers: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(p.Dir, lockFile), os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("make the directory of shared layers: %w", err)
	}
	return lock.Close()
}

// Has reports whether the pool has the layer of a link's target.
func (p Pool) Has(target string) bool {
	if filepath.Dir(target) != p.Dir {
		return false
	}
	_, err := p.read(filepath.Base(target))
	return err == nil
}

// An Entry is a layer of a pool.
type Entry struct {
	Key   string
	Bytes int64
	Added time.Time
}

// Entries returns the layers that are complete.
func (p Pool) Entries() ([]Entry, error) {
	names, err := filepath.Glob(filepath.Join(p.Dir, "*"+layerSuffix))
	if err != nil {
		return nil, err
	}
	var all []Entry
	for _, name := range names {
		key := strings.TrimSuffix(filepath.Base(name), layerSuffix)
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		layer, err := p.read(key)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		all = append(all, Entry{Key: key, Bytes: layer.Bytes, Added: info.ModTime()})
	}
	return all, nil
}

// Trim removes layers until the pool has at most limit bytes. It removes the oldest first, and keeps
// layers with a link from a state. states are the directories of all builders' states. remove deletes a
// directory. Trim does nothing while a builder is making a link.
func (p Pool) Trim(states []string, limit int64, remove func(dir string) error) error {
	unlock, err := p.lock(unix.LOCK_EX | unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	entries, err := p.Entries()
	if err != nil {
		return err
	}
	linked := map[string]bool{}
	for _, state := range states {
		for _, target := range Links(state) {
			linked[filepath.Base(target)] = true
		}
	}
	for _, key := range planTrim(entries, linked, limit) {
		if err := os.Remove(filepath.Join(p.Dir, key+layerSuffix)); err != nil {
			return err
		}
		if err := remove(filepath.Join(p.Dir, key)); err != nil {
			return err
		}
	}
	return nil
}

// planTrim returns the keys of the layers to remove.
func planTrim(entries []Entry, linked map[string]bool, limit int64) []string {
	var total int64
	for _, e := range entries {
		total += e.Bytes
	}
	oldest := slices.SortedFunc(slices.Values(entries), func(a, b Entry) int {
		return cmp.Or(a.Added.Compare(b.Added), cmp.Compare(a.Key, b.Key))
	})
	var keys []string
	for _, e := range oldest {
		if total > limit && !linked[e.Key] {
			keys = append(keys, e.Key)
			total -= e.Bytes
		}
	}
	return keys
}

// Links returns the targets of the links from the state directory of a builder. It also returns recorded
// links whose snapshot was deleted since the builder started.
func Links(state string) []string {
	return append(snapshotLinks(state), readLinks(filepath.Join(state, recordDir, "*"))...)
}

// snapshotLinks returns the targets of the links of snapshots.
func snapshotLinks(state string) []string {
	return readLinks(filepath.Join(state, "*", "snapshots", "snapshots", "*", "fs"))
}

func readLinks(pattern string) []string {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil
	}
	var targets []string
	for _, path := range paths {
		if target, err := os.Readlink(path); err == nil {
			targets = append(targets, target)
		}
	}
	return targets
}
