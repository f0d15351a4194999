package domains

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"slipway/config/logline"
	"slipway/config/process"
	"slipway/config/size"
	"slipway/runner/sandbox/domains/link"
)

const (
	// tidyInterval is the interval in which the free space of the disk is checked.
	tidyInterval = time.Minute
	// dropTimeout is the time that an idle builder gets to stop before its state is deleted.
	dropTimeout = 5 * time.Second
	// floorShare is the part of the disk that the states leave free. A builder itself keeps half of it
	// free (package server). So other states are deleted before the cache in use shrinks.
	floorShare = 20
	// deletedPrefix begins the names of directories that are being deleted.
	deletedPrefix = ".deleted-"
)

// sweep reads the states of earlier supervisors, and completes unfinished deletions. It also deletes the
// cache that all builds shared before each domain had its own.
func (s *Supervisor) sweep() error {
	for _, path := range s.o.Obsolete {
		if _, err := os.Lstat(path); err != nil {
			continue
		}
		s.o.Log.WithField("file", path).Info("delete the cache that all builds shared")
		if err := s.discardPath(path); err != nil {
			s.o.Log.WithError(err).Warn("cannot delete the cache that all builds shared: delete it by hand")
		}
	}
	entries, err := os.ReadDir(s.o.Dir)
	if err != nil {
		return fmt.Errorf("read the directory of the builders: %w", err)
	}
	for _, entry := range entries {
		name := entry.Name()
		switch {
		case domainDir.MatchString(name):
			s.resting[name] = readState(filepath.Join(s.o.Dir, name))
		case strings.HasPrefix(name, deletedPrefix):
			s.removeLater(filepath.Join(s.o.Dir, name))
		case name == unpackDir:
			if err := s.discard(name); err != nil {
				return err
			}
		case isSharedCache(name):
			s.o.Log.WithField("file", filepath.Join(s.o.Dir, name)).Info("delete the cache that all builds shared")
			if err := s.discard(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// isSharedCache reports whether a name belongs to a builder's state, or to a directory with one.
func isSharedCache(name string) bool {
	switch name {
	case "state", "builder.sock", "runc-overlayfs", "runc-native", "cache.db", "history.db", "run":
		return true
	}
	return false
}

// tidy deletes states if there is too little space. It checks this after each report of a size and every
// minute, until Close.
func (s *Supervisor) tidy() {
	ticker := time.NewTicker(tidyInterval)
	defer ticker.Stop()
	warned := false
	for {
		drops, others := s.planDrops()
		if others != "" && !warned {
			s.o.Log.Warn(others)
		}
		warned = others != ""
		for _, d := range drops {
			s.dropState(d)
		}
		select {
		case <-s.sized:
		case <-ticker.C:
		case <-s.ctx.Done():
			return
		}
	}
}

// planDrops returns the states to delete now. others is a text for the log if other files fill the disk. It waits for
// deletions that are under way, because they may free enough.
func (s *Supervisor) planDrops() (drops []drop, others string) {
	s.waitDeleted(s.ctx)
	free, total, err := s.o.DiskSpace(s.o.Dir)
	if err != nil {
		s.o.Log.WithError(err).Warn("cannot read the free space of the caches' disk")
		free, total = 1, 1
	}
	free += s.reserved() // builders release their reserved space when they end
	floor := total / floorShare
	shared := s.trimPool(free < floor)
	limits := space{limit: s.o.CacheBytes, shared: shared, free: free, floor: floor}
	all := s.states()
	use := diskUse{free: free, total: total, caches: all}
	// Caches in use count, too: planDrops deletes them later.
	if use.ofCaches() > 0 && limits.isFilledByOthers(all) {
		others = fmt.Sprintf(
			"the disk of %s has %s free, and %s should be free: %s, so no cache is deleted: free space there",
			s.o.Dir,
			size.Format(free),
			size.Format(floor),
			use,
		)
	}
	return planDrops(all, limits, time.Now()), others
}

// dropState deletes a state, unless a client uses it meanwhile. It reports whether it deleted the state.
func (s *Supervisor) dropState(d drop) (dropped bool) {
	select {
	case <-s.opening: // so that nothing opens the directory meanwhile
	case <-s.ctx.Done():
		return false
	}
	defer func() { s.opening <- struct{}{} }()
	log := s.o.Log.WithFields(logrus.Fields{"directory": d.name, "why": d.reason})
	if open := s.byDir(d.name); open != nil && !s.closeIdle(open) {
		return false
	}
	s.mu.Lock()
	delete(s.resting, d.name)
	s.mu.Unlock()
	if err := s.discard(d.name); err != nil {
		log.WithError(err).Error("cannot delete the cache of a domain")
		return false
	}
	log.Info("the cache of a domain is deleted")
	return true
}

// byDir returns the open domain whose directory has this name, or nil.
func (s *Supervisor) byDir(name string) *domain {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.domains {
		if filepath.Base(d.dir) == name {
			return d
		}
	}
	return nil
}

// closeIdle stops the builder of a domain and closes its socket. It returns false and changes nothing
// if a client uses the domain.
func (s *Supervisor) closeIdle(d *domain) bool {
	select {
	case <-d.starting:
	default:
		return false // it is being started
	}
	defer func() { d.starting <- struct{}{} }()
	if !s.stopIdle(d) || d.queue.hasConnection() {
		return false
	}
	s.mu.Lock()
	d.closed = true
	delete(s.domains, d.id)
	s.mu.Unlock()
	d.queue.close()
	_ = d.listener.Close() // no client is left
	return true
}

// stopIdle stops the builder of a domain, and returns false if a client uses it. The caller owns
// d.starting.
func (s *Supervisor) stopIdle(d *domain) bool {
	timeout := time.NewTimer(dropTimeout)
	defer timeout.Stop()
	asked := time.Now()
	for sent := false; ; {
		s.mu.Lock()
		c, changed := d.child, s.changed
		refuses := c != nil && (c.busy || c.refusedAt.After(asked))
		s.mu.Unlock()
		switch {
		case c == nil:
			return true
		case refuses:
			return false
		case !sent:
			sent = true
			_ = link.SendStop(c) // fails only if it has ended
		}
		select {
		case <-changed:
		case <-timeout.C:
			return false
		case <-s.ctx.Done():
			return false
		}
	}
}

// discard renames an entry of the directory, so that no builder uses it any more, and deletes it in the
// background. A rename also works on a full disk.
func (s *Supervisor) discard(name string) error { return s.discardPath(filepath.Join(s.o.Dir, name)) }

func (s *Supervisor) discardPath(path string) error {
	dir := filepath.Join(s.o.Dir, deletedPrefix+rand.Text())
	if err := os.Rename(path, dir); err != nil {
		return fmt.Errorf("delete a cache: %w", err)
	}
	s.removeLater(dir)
	return nil
}

// removeLater deletes a directory in the background.
func (s *Supervisor) removeLater(dir string) {
	s.update(func() { s.deletions++ })
	go func() {
		defer s.update(func() { s.deletions-- })
		s.remove(dir)
	}()
}

// remove deletes a directory. A rootless builder's files belong to subordinate ids, so only a process
// in its user namespace can delete them.
func (s *Supervisor) remove(dir string) {
	err := os.RemoveAll(dir)
	if os.IsPermission(err) {
		//nolint:gosec,noctx // our own binary; the kernel ends it with this process
		cmd := exec.Command(s.o.Executable, "builder", "discard", dir)
		cmd.Env = append([]string{}, s.o.Environ...)
		relay := logline.Relay{Log: s.o.Log, Fields: logrus.Fields{"from": "builder"}}
		p, startErr := process.Start(cmd, process.Options{Line: relay.Pass})
		if startErr == nil {
			_ = p.Wait() // its output is logged
			err = os.RemoveAll(dir)
		}
	}
	if err != nil && s.ctx.Err() == nil {
		s.o.Log.WithError(err).Warn("cannot delete the files of a deleted cache; the next start tries again")
	}
}

// diskSpace returns the free and the total space of a directory's file system, in bytes.
func diskSpace(dir string) (free, total int64, err error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return 0, 0, fmt.Errorf("read the free space of %s: %w", dir, err)
	}
	block := stat.Bsize
	return int64(stat.Bavail) * block, int64(stat.Blocks) * block, nil //nolint:gosec // no disk is so large
}
