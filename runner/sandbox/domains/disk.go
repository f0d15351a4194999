package domains

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"slipway/runner/sandbox/disk"
)

// The content of a domain's cache is on a disk of fixed size, so its builds can fill neither the disk of
// the machine nor the cache of another domain. While a builder runs, all blocks of its disk are taken from
// the machine. When it ends, it gives the free ones back.

// diskFile is the file of the disk in a state directory. It is deleted with BuildKit's databases, which
// refer to its content.
const diskFile = "disk.img"

// hasDisk reports whether a domain's builder has a disk. The builder that fills the pool has none, because
// it moves its layers to the pool. unpack limits it.
func (s *Supervisor) hasDisk(d *domain) bool { return s.o.DiskBytes > 0 && !d.writesLayers }

func (d *domain) diskFile() string { return filepath.Join(d.dir, stateDir, diskFile) }

// prepareDisk makes the disk of a domain ready for its builder. It deletes a state that does not fit: one
// without a disk, one with a disk of another size, or one after a crash of the machine. Without space, it
// deletes other caches, or waits for other builders. The caller owns d.starting.
func (s *Supervisor) prepareDisk(ctx context.Context, d *domain) error {
	if err := s.dropOtherLayout(d); err != nil {
		return err
	}
	if !s.hasDisk(d) {
		return nil
	}
	kept := disk.Kept{File: d.diskFile(), Bytes: s.o.DiskBytes, Reserve: s.o.DiskReserve}
	for {
		if err := os.MkdirAll(filepath.Dir(kept.File), 0o700); err != nil {
			return fmt.Errorf("make the directory of a domain's disk: %w", err)
		}
		err := kept.Allocate(ctx)
		var space *disk.SpaceError
		switch {
		case errors.Is(err, disk.ErrStale):
			err = s.dropDomainState(d, err.Error())
		case errors.As(err, &space) && s.makeRoom(ctx):
			err = nil
		case errors.As(err, &space):
			return fmt.Errorf("%w (%s)", err, disk.KeptSetting)
		default:
			return err
		}
		if err != nil {
			return err
		}
	}
}

// dropOtherLayout deletes a state with a disk if domains have none, and the reverse.
func (s *Supervisor) dropOtherLayout(d *domain) error {
	used := exists(filepath.Join(d.dir, stateDir, "cache.db"))
	if !used || exists(d.diskFile()) == s.hasDisk(d) {
		return nil
	}
	return s.dropDomainState(d, "the caches of builds now have disks of their own, or no longer")
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// dropDomainState deletes the state of a domain whose builder does not run.
func (s *Supervisor) dropDomainState(d *domain, why string) error {
	s.o.Log.WithField("domain", d.id).WithField("why", why).Warn("the cache of a domain is deleted")
	return s.discard(filepath.Join(filepath.Base(d.dir), stateDir))
}

// makeRoom frees space of the machine for the disk of a builder. It stops an idle builder, or deletes the
// least recently used cache, or waits until another builder ends. It returns false if none of them can
// help.
func (s *Supervisor) makeRoom(ctx context.Context) bool {
	s.mu.Lock()
	victim, changed, others := s.chooseVictim(), s.changed, s.running > 1
	s.mu.Unlock()
	if victim == nil {
		drops := planDrops(s.states(), space{limit: math.MaxInt64, floor: math.MaxInt64}, time.Now())
		if len(drops) == 0 && !others {
			return false
		}
		if len(drops) > 0 {
			drops[0].reason = "another builder needs space for its disk"
			if s.dropState(drops[0]) {
				return ctx.Err() == nil
			}
			// Its builder is being started, so wait.
		}
	}
	if victim != nil {
		s.askToStop(victim)
	}
	select {
	case <-changed:
	case <-time.After(admitPoll):
	case <-ctx.Done():
		return false
	}
	return true
}

// states returns the states of all domains.
func (s *Supervisor) states() []cacheState {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []cacheState
	for _, state := range s.resting {
		all = append(all, state)
	}
	for _, d := range s.domains {
		busy := d.child != nil && d.child.busy
		all = append(all, cacheState{name: filepath.Base(d.dir), bytes: d.bytes, used: d.used, busy: busy})
	}
	return all
}

// reserved returns the space that the disks of running builders have taken but do not use, in bytes.
func (s *Supervisor) reserved() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum int64
	for _, d := range s.domains {
		if d.child != nil && s.hasDisk(d) {
			sum += max(s.o.DiskBytes-d.bytes, 0)
		}
	}
	return sum
}
