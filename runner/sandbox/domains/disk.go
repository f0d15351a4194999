package domains

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"slipway/config/size"
	"slipway/runner/sandbox/crashsafe"
	"slipway/runner/sandbox/disk"
)

// The content of a domain's cache is on a disk of fixed size, so its builds can fill neither the disk of
// the machine nor the cache of another domain. While a builder runs, all blocks of its disk are taken from
// the machine. When it ends, it gives the free ones back.

// hasDisk reports whether a domain's builder has a disk. The builder that fills the pool has none, because
// it moves its layers to the pool. unpack limits it.
func (s *Supervisor) hasDisk(d *domain) bool { return s.o.DiskBytes > 0 && !d.writesLayers }

// isWatched reports whether a domain's builder watches its state directory, because it has no disk.
func (s *Supervisor) isWatched(d *domain) bool {
	return s.o.WatchBytes > 0 && !s.hasDisk(d) && !d.writesLayers
}

// reserveShare is the part of the reserve, 1/reserveShare, below which a builder is killed.
const reserveShare = 4

// watchReserve kills a builder that has not stopped its builds before they used most of the reserve. It returns
// when the builder has ended.
func (s *Supervisor) watchReserve(c *child) {
	ticker := time.NewTicker(floorPoll)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-c.Ended():
			return
		}
		free, _, err := s.o.DiskSpace(s.o.Dir)
		s.mu.Lock()
		busy := c.busy
		s.mu.Unlock()
		if err == nil && busy && free < s.o.DiskReserve/reserveShare {
			s.o.Log.WithField("free", size.Format(free)).
				Error("a builder is killed: the machine has too little free space")
			c.Signal(syscall.SIGKILL)
			return
		}
	}
}

// diskFile returns the file of a domain's disk in its state directory. It is deleted with BuildKit's
// databases, which refer to its content. Its name has the size by the setting, because the disk itself may
// be smaller (SpaceError.Smaller).
func (s *Supervisor) diskFile(d *domain) string {
	return filepath.Join(d.dir, stateDir, fmt.Sprintf("disk-%d.img", s.o.DiskBytes))
}

// prepareState makes the state of a domain ready for its builder. It deletes a state that does not fit: one
// without a disk, one with a disk of another size, or one that a crash of the machine may have damaged. The caller
// owns d.starting.
func (s *Supervisor) prepareState(ctx context.Context, d *domain) error {
	if err := s.dropDamaged(d); err != nil {
		return err
	}
	if err := s.dropOtherLayout(d); err != nil {
		return err
	}
	if s.isWatched(d) {
		return s.checkReserve(ctx, d)
	}
	if !s.hasDisk(d) {
		return nil // the builder begins the record of its state itself
	}
	return s.prepareDisk(ctx, d)
}

// dropDamaged deletes the state of a domain if a crash of the machine may have damaged it, or if it comes from
// another machine.
func (s *Supervisor) dropDamaged(d *domain) error {
	reason, err := crashsafe.Check(filepath.Join(d.dir, stateDir), s.machine)
	if err != nil || reason == "" {
		return err
	}
	return s.dropDomainState(d, reason)
}

// prepareDisk makes the disk of a domain ready for its builder. The caller owns d.starting.
func (s *Supervisor) prepareDisk(ctx context.Context, d *domain) error {
	kept := disk.Kept{File: s.diskFile(d), Bytes: s.diskSize(d), Reserve: s.o.DiskReserve}
	known := sizes{}
	for {
		err := s.beginState(d)
		if err == nil {
			err = kept.Allocate(ctx)
		}
		var space *disk.SpaceError
		switch {
		case errors.Is(err, disk.ErrStale):
			err = s.dropDomainState(d, err.Error())
		case errors.As(err, &space):
			kept.Bytes, err = s.makeSpaceForDisk(ctx, known, d, space)
		default:
			return err
		}
		if err != nil {
			return err
		}
	}
}

// beginState makes the directory of a domain's state, and records that a builder uses it. On a full disk, even that
// fails, so the error is a *disk.SpaceError then. The record must come before the disk (crashsafe.Begin).
func (s *Supervisor) beginState(d *domain) error {
	dir := filepath.Join(d.dir, stateDir)
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = crashsafe.Begin(dir, s.machine)
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("make the directory of a domain's disk: %w", err)
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	free, _, readErr := s.o.DiskSpace(s.o.Dir)
	if readErr != nil || free > recordBytes {
		return err // no inodes, for example
	}
	return &disk.SpaceError{
		Dir: s.o.Dir, Bytes: s.diskSize(d), Reserve: s.o.DiskReserve, Setting: disk.KeptSetting,
		Free: free, Need: max(s.diskSize(d)-allocatedBytes(s.diskFile(d)), 0) + s.o.DiskReserve,
	}
}

// allocatedBytes returns the space that a file takes, in bytes; 0 = there is no file.
func allocatedBytes(path string) int64 {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return 0
	}
	const unit = 512 // bytes; https://man7.org/linux/man-pages/man3/stat.3type.html
	return stat.Blocks * unit
}

// diskSize returns the size of the disk for the next builder of a domain. A disk that was made smaller for
// lack of space keeps its size, with its cache, until the machine has room for twice the usual size.
func (s *Supervisor) diskSize(d *domain) int64 {
	bytes := s.fileSize(d)
	if bytes == s.o.DiskBytes || bytes < s.o.MinDiskBytes {
		return s.o.DiskBytes
	}
	free, _, err := s.o.DiskSpace(s.o.Dir)
	if err == nil && free-s.o.DiskReserve >= 2*s.o.DiskBytes {
		return s.o.DiskBytes
	}
	return min(bytes, s.o.DiskBytes)
}

// fileSize returns the size of a domain's disk, in bytes; 0 = it has none.
func (s *Supervisor) fileSize(d *domain) int64 {
	info, err := os.Stat(s.diskFile(d))
	if err != nil {
		return 0
	}
	return info.Size()
}

// dropOtherLayout deletes a state with a disk if domains have none, and the reverse, and one with a disk for
// another size.
func (s *Supervisor) dropOtherLayout(d *domain) error {
	if !exists(filepath.Join(d.dir, stateDir, "cache.db")) {
		return nil
	}
	found, err := filepath.Glob(filepath.Join(d.dir, stateDir, "disk-*.img"))
	if err != nil {
		return fmt.Errorf("find the disk of a cache: %w", err)
	}
	var want []string
	if s.hasDisk(d) {
		want = []string{s.diskFile(d)}
	}
	if slices.Equal(found, want) {
		return nil
	}
	return s.dropDomainState(d, "its disk does not have the size of the setting "+disk.KeptSetting)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// dropDomainState deletes the state of a domain whose builder does not run.
func (s *Supervisor) dropDomainState(d *domain, why string) error {
	s.o.Log.WithField("domain", d.id).WithField("why", why).Warn("the cache of a domain is deleted")
	state := filepath.Join(d.dir, stateDir)
	if err := s.discardPath(state); err != nil {
		return fmt.Errorf("%s, because %s: delete %s by hand", err.Error(), why, state)
	}
	return nil
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
			sum += max(s.fileSize(d)-d.bytes, 0)
		}
	}
	return sum
}
