package domains

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"

	"slipway/runner/sandbox/crashsafe"
	"slipway/runner/sandbox/layers"
)

// Without a pool, each domain unpacks a base image again. So the builders share the layers of public
// images (package layers). A separate builder unpacks them. It has no other clients and no credentials,
// and it runs no step. So a layer of the pool always matches its digest, and every domain may read it.
const (
	poolDir   = "layers"
	unpackDir = "unpack" // directory of the builder that fills the pool; deleted afterwards

	// poolShare is the part of all caches that the pool may have, without layers that states link to.
	poolShare = 4
	// unpackTimeout bounds the time to pull and unpack an image.
	unpackTimeout = 15 * time.Minute
	// unpackDelay is the longest time that an image waits for a time without builds.
	unpackDelay = 10 * time.Minute
	// maxImages bounds the images that the supervisor remembers. Builders run code of repositories, which may
	// use any number of images.
	maxImages = 10_000
)

// publicImage matches an image by digest, for example docker.io/library/alpine@sha256:…. It is compiled
// at its first use: its repeats make it large, and every slipway process would wait for it at its start.
var publicImage = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z0-9][a-z0-9._:/-]{0,400}@sha256:[0-9a-f]{64}$`)
})

func (s *Supervisor) pool() layers.Pool { return layers.Pool{Dir: filepath.Join(s.o.Dir, poolDir)} }

// openPool makes the pool's directory ready. A layer counts only when it is on the disk (layers.Pool), so the pool
// survives a crash of the machine. It is deleted if it comes from another machine, and with it the caches that link
// to it (dropBrokenState).
func (s *Supervisor) openPool() error {
	dir := s.pool().Dir
	reason, err := crashsafe.Check(dir, s.machine)
	if err != nil {
		return err
	}
	if reason != "" {
		s.o.Log.WithField("why", reason).Warn("the shared layers of all caches are deleted")
		if err := s.discardPath(dir); err != nil {
			return fmt.Errorf("%s, because %s: delete %s by hand", err.Error(), reason, dir)
		}
	}
	if err := s.pool().Open(); err != nil {
		return err
	}
	return crashsafe.Mark(dir, s.machine)
}

// addImage adds an image of which a builder unpacked a layer.
func (s *Supervisor) addImage(image string) {
	if !publicImage().MatchString(image) {
		return
	}
	s.mu.Lock()
	_, known := s.images[image]
	if !known && len(s.images) < maxImages {
		s.images[image] = false
	}
	s.mu.Unlock()
	wake(s.pooling)
}

// shareLayers unpacks images for all domains until Close. It begins when there are two domains.
func (s *Supervisor) shareLayers() {
	for {
		select {
		case <-s.pooling:
		case <-s.ctx.Done():
			return
		}
		for image := s.nextImage(); image != "" && s.waitQuiet(); image = s.nextImage() {
			err := s.unpack(image)
			if s.ctx.Err() != nil {
				return
			}
			log := s.o.Log.WithField("image", image)
			if err != nil { // a private image, for example
				log.WithError(err).Info("cannot share the layers of an image")
			} else {
				log.Info("the layers of an image are shared")
			}
			s.mu.Lock()
			s.images[image] = true
			s.mu.Unlock()
			s.checkSpace()
		}
	}
}

// nextImage returns an image to unpack, or "".
func (s *Supervisor) nextImage() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.domains)+len(s.resting) < 2 {
		return ""
	}
	for image, done := range s.images {
		if !done {
			return image
		}
	}
	return ""
}

// waitQuiet waits until no client uses a builder, so that unpacking slows down no build. After
// unpackDelay it waits no longer. It returns false after Close.
func (s *Supervisor) waitQuiet() bool {
	timeout := time.NewTimer(unpackDelay)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		busy, changed := false, s.changed
		for _, d := range s.domains {
			busy = busy || d.child != nil && d.child.busy
		}
		s.mu.Unlock()
		if !busy {
			return true
		}
		select {
		case <-changed:
		case <-timeout.C:
			return true
		case <-s.ctx.Done():
			return false
		}
	}
}

// unpack adds the layers of an image to the pool, if it can be pulled without credentials.
func (s *Supervisor) unpack(image string) error {
	if err := s.checkFloor(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, unpackTimeout)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s.watches.Go(func() { s.watchFloor(ctx, stop) })
	dir := filepath.Join(s.o.Dir, unpackDir)
	d, err := openDomain(unpackDir, dir, 0)
	if err != nil {
		return err
	}
	d.writesLayers = true
	defer func() {
		d.queue.close()
		_ = d.listener.Close() // no client is left
		if err := s.discard(unpackDir); err != nil {
			s.o.Log.WithError(err).Warn("cannot delete the files of an unpacked image; the next start tries again")
		}
	}()
	builder, err := s.startChild(ctx, d)
	if err != nil {
		return err
	}
	defer builder.stop()
	c, err := client.New(ctx, "unix://"+d.socket())
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	// A new directory in the image needs all its layers.
	definition, err := llb.Image(image).File(llb.Mkdir("/slipway", 0o755)).Marshal(ctx)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", image, err)
	}
	_, err = c.Solve(ctx, definition, client.SolveOpt{}, nil)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// floorPoll is the interval in which the free space is read while an image is unpacked.
const floorPoll = 50 * time.Millisecond

// errNoSpace is the error of an image that is not unpacked for lack of space.
var errNoSpace = errors.New("the disk has not enough free space")

// watchFloor calls stop if the disk has less free space than the states leave free. An image may become very
// large when it is unpacked, and the builder of the pool has no disk of its own.
func (s *Supervisor) watchFloor(ctx context.Context, stop context.CancelCauseFunc) {
	ticker := time.NewTicker(floorPoll)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if err := s.checkFloor(); err != nil {
			stop(err)
			return
		}
	}
}

// checkFloor returns errNoSpace if the disk has less free space than the states leave free.
func (s *Supervisor) checkFloor() error {
	free, total, err := s.o.DiskSpace(s.o.Dir)
	if err == nil && free < total/floorShare {
		err = errNoSpace
	}
	return err
}

// trimPool removes layers that no state links to, if the pool has more than its share, or all of them on
// a full disk. It returns the size of the rest.
func (s *Supervisor) trimPool(isFull bool) int64 {
	if !s.o.ShareLayers {
		return 0
	}
	limit := s.o.CacheBytes / poolShare
	if isFull {
		limit = 0
	}
	states, err := filepath.Glob(filepath.Join(s.o.Dir, "*", stateDir))
	if err == nil {
		err = s.pool().Trim(states, limit, func(dir string) error { return s.discardPath(dir) })
	}
	entries, readErr := s.pool().Entries()
	if err != nil || readErr != nil {
		s.o.Log.WithError(err).WithField("read", readErr).Warn("cannot trim the shared layers")
	}
	var total int64
	for _, e := range entries {
		total += e.Bytes
	}
	return total
}

// dropBrokenState deletes the state of a domain if it links to a layer that is not in the pool. This
// happens if an administrator deletes or moves the pool's directory.
func (s *Supervisor) dropBrokenState(name string) error {
	state := filepath.Join(s.o.Dir, name, stateDir)
	for _, target := range layers.Links(state) {
		if s.o.ShareLayers && s.pool().Has(target) {
			continue
		}
		s.o.Log.WithField("directory", name).Warn("the cache of a domain is deleted: a layer of it is missing")
		return s.discard(filepath.Join(name, stateDir))
	}
	return nil
}
