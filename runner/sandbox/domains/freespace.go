package domains

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/size"
	"slipway/runner/sandbox/disk"
)

// A builder that needs space gets it from the caches of other domains, the least recently used first. A cache is
// deleted only if all deletions together free enough. If other files fill the disk, they would soon fill the freed
// space, too, so the caches stay, and the error or the log names the size of both.

// recordBytes is the space that the directory and the small files of a new domain need, in bytes.
const recordBytes = 1 << 20

// deleteTimeout is how long a builder that needs space waits for the deletions of caches.
const deleteTimeout = time.Minute

// A noSpaceError is a full disk that the supervisor itself found. errors.Is reports it as ENOSPC, like the error of
// the kernel.
type noSpaceError string

func (e noSpaceError) Error() string { return string(e) }
func (noSpaceError) Unwrap() error   { return syscall.ENOSPC }

// checkReserve makes room for the builder of a watched domain. A builder with less than 1/reserveShare of the reserve
// would be killed with its first build (watchReserve), so it does not start. With more, it starts, and deletes
// entries of its own cache before a build.
func (s *Supervisor) checkReserve(ctx context.Context, d *domain) error {
	known := sizes{}
	for {
		free, _, err := s.o.DiskSpace(s.o.Dir)
		switch {
		case err != nil || free >= s.o.DiskReserve:
			return err
		case s.deleteForSpace(ctx, known, s.o.DiskReserve, "builds need free space"):
			continue
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case free >= s.o.DiskReserve/reserveShare:
			return nil
		}
		use, err := s.measureUse(ctx, known)
		if err != nil {
			return err
		}
		if use.free+use.ofCaches() < s.o.DiskReserve || !exists(filepath.Join(d.dir, stateDir)) {
			return noSpaceError(fmt.Sprintf("the disk of %s has %s free, and builds leave %s: %s: free space there",
				s.o.Dir, size.Format(free), size.Format(s.o.DiskReserve), use))
		}
		if err := s.dropDomainState(d, "the machine has too little free space"); err != nil {
			return err
		}
	}
}

// makeSpaceForDisk reacts to a disk that does not fit on the machine's, and returns the size to try next. It stops idle
// builders, deletes other caches if the disk fits then, makes the disk smaller, and waits for other builders, in this
// order.
func (s *Supervisor) makeSpaceForDisk(
	ctx context.Context, known sizes, d *domain, e *disk.SpaceError,
) (int64, error) {
	const reason = "another builder needs space for its disk"
	if s.stopIdleBuilder(ctx) || s.deleteForSpace(ctx, known, e.Need, reason) {
		return e.Bytes, nil
	}
	if smaller := e.Smaller(s.o.MinDiskBytes); smaller > 0 {
		s.o.Log.WithFields(logrus.Fields{
			"domain": d.id, "disk": size.Format(smaller), "free": size.Format(e.Free),
		}).Warnf("the disk of a cache is smaller than %s: free space on the disk of %s", size.Format(s.o.DiskBytes), s.o.Dir)
		if exists(s.diskFile(d)) {
			return smaller, s.dropDomainState(d, e.Error())
		}
		return smaller, nil
	}
	if s.deleteForSpace(ctx, known, min(e.Need, e.Reserve+s.o.MinDiskBytes), reason) {
		return e.Bytes, nil
	}
	if s.waitForOthers(ctx) {
		clear(known) // other builders have written meanwhile
		return e.Bytes, nil
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	use, err := s.measureUse(ctx, known)
	if err != nil {
		return 0, errors.Join(e, err)
	}
	return 0, fmt.Errorf("%w: %s", e, use)
}

// findOnFullDisk is like find. If the disk has no space even for the files of a new domain, it deletes a cache.
func (s *Supervisor) findOnFullDisk(ctx context.Context, id string) (*domain, error) {
	known := sizes{}
	for {
		d, err := s.find(ctx, id)
		if !errors.Is(err, syscall.ENOSPC) || !s.deleteForSpace(ctx, known, recordBytes, "the disk is full") {
			return d, err
		}
	}
}

// stopIdleBuilder stops an idle builder, whose disk then takes less space. It returns false if there is none, or if ctx
// ends.
func (s *Supervisor) stopIdleBuilder(ctx context.Context) bool {
	s.mu.Lock()
	victim, changed := s.chooseVictim(), s.changed
	s.mu.Unlock()
	if victim == nil {
		return false
	}
	s.askToStop(victim)
	return waitChange(ctx, changed)
}

// deleteForSpace deletes a cache, if the disk has less than need bytes free and more deletions can change that. It first
// waits for the deletions that are under way. It returns true if there may be more space now. If the free space is
// unknown, it deletes nothing.
func (s *Supervisor) deleteForSpace(ctx context.Context, known sizes, need int64, reason string) bool {
	if waited := s.waitDeleted(ctx); waited || ctx.Err() != nil {
		return ctx.Err() == nil
	}
	use, err := s.measureUse(ctx, known)
	if err != nil {
		s.o.Log.WithError(err).Warn("no cache is deleted: cannot read the free space of the caches' disk")
		return false
	}
	s.mu.Lock()
	changed := s.changed
	s.mu.Unlock()
	drops := planDrops(use.caches, space{limit: math.MaxInt64, free: use.free, floor: need}, time.Now())
	if len(drops) == 0 || ctx.Err() != nil {
		return false
	}
	drops[0].reason = reason
	if s.dropState(drops[0]) {
		s.waitDeleted(ctx)
		return ctx.Err() == nil
	}
	return waitChange(ctx, changed) // its builder is being started
}

// waitDeleted waits until no cache is being deleted, or until ctx ends. It reports whether it had to wait. After
// deleteTimeout, it logs that and returns false, so that its caller goes on.
func (s *Supervisor) waitDeleted(ctx context.Context) (waited bool) {
	timeout := time.NewTimer(deleteTimeout)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		deletions, changed := s.deletions, s.changed
		s.mu.Unlock()
		if deletions == 0 || ctx.Err() != nil {
			return waited
		}
		waited = true
		select {
		case <-changed:
		case <-timeout.C:
			s.o.Log.WithField("caches", deletions).
				Warnf("caches are still being deleted after %s: builders do not wait for their space", deleteTimeout)
			return false
		case <-ctx.Done():
		}
	}
}

// waitForOthers waits until another builder may have ended. It returns false if none runs, or if ctx ends.
func (s *Supervisor) waitForOthers(ctx context.Context) bool {
	s.mu.Lock()
	changed, others := s.changed, s.running > 1
	s.mu.Unlock()
	return others && waitChange(ctx, changed)
}

// waitChange waits for a change of a builder, or for a moment. It returns false if ctx ends first.
func waitChange(ctx context.Context, changed <-chan struct{}) bool {
	select {
	case <-changed:
	case <-time.After(admitPoll):
	case <-ctx.Done():
		return false
	}
	return true
}

// A diskUse tells what uses the disk of all states.
type diskUse struct {
	free, total int64        // of the disk, in bytes
	caches      []cacheState // with their sizes on the disk
}

// sizes are the measured sizes of caches, in bytes, by the name of their directory. A search for space has one value, so
// that it walks each cache once, and not again after each deletion.
type sizes map[string]int64

// measureUse reads the sizes of all caches on the disk, except the known ones, and adds them to these. The sizes that
// builders report can be old, and do not have the space that the file of a disk takes.
func (s *Supervisor) measureUse(ctx context.Context, known sizes) (use diskUse, err error) {
	use.caches = s.states()
	for i, c := range use.caches {
		if bytes, ok := known[c.name]; ok {
			use.caches[i].bytes = bytes
			continue
		}
		all := disk.Amount{Bytes: math.MaxInt64, Files: math.MaxInt64}
		amount, err := disk.Measure(ctx, filepath.Join(s.o.Dir, c.name), all)
		if err == nil {
			use.caches[i].bytes, known[c.name] = amount.Bytes, amount.Bytes
		}
	}
	use.free, use.total, err = s.o.DiskSpace(s.o.Dir)
	return use, err
}

// ofCaches returns the size of all caches, in bytes.
func (u diskUse) ofCaches() (bytes int64) {
	for _, c := range u.caches {
		bytes += c.bytes
	}
	return bytes
}

// String returns for example "caches use 2 GB of it, and other files 18 GB".
func (u diskUse) String() string {
	caches := u.ofCaches()
	return fmt.Sprintf("caches use %s of it, and other files %s",
		size.Format(caches), size.Format(max(u.total-u.free-caches, 0)))
}
