package domains

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"slipway/config/process"
	"slipway/runner/sandbox"
)

// A domain is a trust domain with its directory, its socket and at most one builder.
type domain struct {
	id       string
	dir      string
	listener *net.UnixListener // removes the socket's file when it is closed
	queue    *queue            // waiting connections of the same socket
	starting chan struct{}     // holds one token; its owner may start or stop the child

	writesLayers bool // the domain's builder adds layers to the pool

	// The fields below are guarded by Supervisor.mu.
	child  *child    // nil = no builder runs
	used   time.Time // time of the last request for the builder
	bytes  int64     // size of the cache, as the builder last reported it
	closed bool      // the state was deleted, and the socket is closed
}

// errDropped is the error of ensure if the domain's state was deleted meanwhile.
var errDropped = errors.New("the state of the domain was deleted")

// dirOf returns the directory of a domain. Its name is a hash, because an id may contain any character.
func (s *Supervisor) dirOf(id string) string {
	sum := sha256.Sum256([]byte(id))
	return filepath.Join(s.o.Dir, hex.EncodeToString(sum[:16]))
}

// The files of a domain's directory.
const (
	socketFile = "builder.sock"
	stateDir   = "state"
)

func (s *Supervisor) socketOf(id string) string { return filepath.Join(s.dirOf(id), socketFile) }

func (d *domain) socket() string { return filepath.Join(d.dir, socketFile) }

// openDomain makes the directory of a domain and opens its socket. The caller has the lock of the
// parent directory, so an existing socket is that of a killed predecessor.
func openDomain(id, dir string, group int) (*domain, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of a builder: %w", err)
	}
	path := filepath.Join(dir, socketFile)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the socket of an earlier process: %w", err)
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on unix://%s: %w", path, err)
	}
	queue, err := openQueue(listener)
	if err == nil {
		err = sandbox.ShareSocket(path, cmp.Or(group, -1))
	}
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	d := &domain{
		id:       id,
		dir:      dir,
		listener: listener,
		queue:    queue,
		starting: make(chan struct{}, 1),
		used:     time.Now(), // so that tidy does not delete the state before the request that opens it
	}
	d.starting <- struct{}{}
	return d, nil
}

// ensure starts the builder of a domain unless it runs and answers.
func (s *Supervisor) ensure(ctx context.Context, d *domain) error {
	select {
	case <-d.starting:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { d.starting <- struct{}{} }()
	now := time.Now()
	s.mu.Lock()
	child, closed := d.child, d.closed
	d.used = now
	s.mu.Unlock()
	if closed {
		return errDropped
	}
	touchRecord(d.dir, now)
	if child != nil {
		if s.isServing(ctx, d, child) {
			return nil
		}
		if ctx.Err() != nil { // the check was canceled, so its result does not count
			return context.Cause(ctx)
		}
		if child.Running() {
			s.o.Log.WithField("domain", d.id).Warn("a builder does not answer and is stopped")
		}
		child.Stop(hungTimeout)
		s.forget(d, child)
	}
	if err := s.admit(ctx); err != nil {
		return err
	}
	if err := s.start(ctx, d); err != nil {
		s.leave()
		return err
	}
	return nil
}

// start starts the builder of a domain and waits until it accepts connections. It retries while a
// predecessor that is being killed still locks the state directory. The caller owns d.starting.
func (s *Supervisor) start(ctx context.Context, d *domain) error {
	deadline := time.Now().Add(stateTimeout)
	for {
		c, err := s.startChild(ctx, d)
		if err == nil {
			s.mu.Lock()
			d.child = c
			s.notify()
			s.mu.Unlock()
			s.watches.Go(func() { s.reap(d, c) })
			return nil
		}
		if !errors.Is(err, process.ErrStateLocked) || time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
	}
}

// reap waits for the end of a child.
func (s *Supervisor) reap(d *domain, c *child) {
	if err := c.Wait(); err != nil && !c.isStopped() {
		s.o.Log.WithError(err).WithField("domain", d.id).Warn("the builder ended")
	}
	s.forget(d, c)
	s.leave()
}

// forget removes an ended child from its domain.
func (s *Supervisor) forget(d *domain, c *child) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.child == c {
		d.child = nil
	}
	s.notify()
}

// closeDomain stops the builder of a domain and closes its socket.
func (s *Supervisor) closeDomain(d *domain) {
	<-d.starting // a start ends soon, because its context has ended
	defer func() { d.starting <- struct{}{} }()
	s.mu.Lock()
	child := d.child
	s.mu.Unlock()
	if child != nil {
		child.stop()
	}
	d.queue.close()
	_ = d.listener.Close() // no client is left
}

// watch starts the builder of a domain whenever a connection waits and none runs. It returns after the
// socket was closed.
func (s *Supervisor) watch(d *domain) {
	for s.waitStopped(d) && d.queue.wait() {
		err := s.ensure(s.ctx, d)
		if err == nil || errors.Is(err, errDropped) || s.ctx.Err() != nil {
			continue
		}
		s.o.Log.WithError(err).WithField("domain", d.id).Error("the builder does not start")
		d.queue.refuse()
		select {
		case <-time.After(restartDelay):
		case <-s.ctx.Done():
		}
	}
}

// restartDelay is the delay after a builder for a waiting connection did not start.
const restartDelay = time.Second

// waitStopped waits until no builder of a domain runs. It returns false if the supervisor closes first.
func (s *Supervisor) waitStopped(d *domain) bool {
	for {
		s.mu.Lock()
		child, changed := d.child, s.changed
		s.mu.Unlock()
		if child == nil {
			return s.ctx.Err() == nil
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
			return false
		}
	}
}
