package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/buildservice"
	"slipway/config/logline"
	"slipway/config/process"
)

// ServiceOptions configure a Service. Executable, Dir and Log are required.
type ServiceOptions struct {
	Executable string   // path of the slipway binary
	Dir        string   // directory of the service's state and socket
	Args       []string // further flags of `slipway builder service`
	Log        logrus.FieldLogger
}

// A Service supervises one process of `slipway builder service`, the builder service of this gateway.
// The first call of Prepare, Start or Level starts the process, and the next call after a crash starts it again.
// Close stops it. It is safe for concurrent use.
type Service struct {
	o      ServiceOptions
	client buildservice.Client
	lock   chan struct{} // holds one token; its owner may use the fields below
	child  *child
	closed bool
	waits  sync.WaitGroup // goroutines that wait for a child
}

// A child is a process of the service.
type child struct {
	*process.Builder
	stopped atomic.Bool // the gateway stopped it, so its exit code does not matter
}

func (c *child) stop() {
	c.stopped.Store(true)
	c.Stop(stopTimeout)
}

const (
	stopTimeout  = 50 * time.Second // from the stop signal to the kill; builders need sandbox.KillGrace
	stateTimeout = 5 * time.Second  // how long start waits until a killed predecessor has ended
)

// errServiceClosed is the error of Start after Close.
var errServiceClosed = errors.New("the builder service is closed")

// NewService returns a Service. It starts no process.
func NewService(o ServiceOptions) *Service {
	s := &Service{
		o:      o,
		client: buildservice.Client{Socket: ServiceSocket(o.Dir)},
		lock:   make(chan struct{}, 1),
	}
	s.lock <- struct{}{}
	return s
}

// Prepare starts the service unless it runs.
func (s *Service) Prepare(ctx context.Context) error { return s.ensure(ctx) }

// Start starts the runner of an attempt, and the service if necessary.
func (s *Service) Start(ctx context.Context, run buildservice.Run) (*buildservice.Attempt, error) {
	if err := s.ensure(ctx); err != nil {
		return nil, fmt.Errorf("start the builder service: %w", err)
	}
	return s.client.Start(ctx, run)
}

// CheckSpace returns why the disk of the builders has no space for the cache of a trust domain; "" = it has. It starts
// the service if necessary.
func (s *Service) CheckSpace(ctx context.Context, domain string) (problem string, err error) {
	if err := s.ensure(ctx); err != nil {
		return "", fmt.Errorf("start the builder service: %w", err)
	}
	return s.client.CheckSpace(ctx, domain)
}

// Level returns how the service isolates the code of repositories. It starts the service if necessary.
func (s *Service) Level(ctx context.Context) (buildservice.Level, error) {
	if err := s.ensure(ctx); err != nil {
		return buildservice.Level{}, fmt.Errorf("start the builder service: %w", err)
	}
	return s.client.Level(ctx)
}

// Close stops the service and waits for its end. It may be called more than once.
func (s *Service) Close() {
	<-s.lock
	defer func() { s.lock <- struct{}{} }()
	s.closed = true
	if s.child != nil {
		s.child.stop()
	}
	s.waits.Wait()
}

// ensure starts the process unless it runs.
func (s *Service) ensure(ctx context.Context) error {
	select {
	case <-s.lock:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { s.lock <- struct{}{} }()
	switch {
	case s.closed:
		return errServiceClosed
	case s.child != nil && s.child.Running():
		return nil
	}
	return s.start(ctx)
}

// start starts a process and waits until it accepts connections. It retries while a predecessor that is
// being killed still has the state.
func (s *Service) start(ctx context.Context) error {
	//nolint:gosec // runners pass through to their directories; the state below is 0700
	if err := os.MkdirAll(s.o.Dir, 0o711); err != nil {
		return fmt.Errorf("make the directory of the builder service: %w", err)
	}
	deadline := time.Now().Add(stateTimeout)
	for {
		child, err := s.startProcess()
		if err != nil {
			return err
		}
		s.child = child
		err = child.WaitReady(ctx)
		if err == nil {
			return nil
		}
		child.stop()
		if !errors.Is(err, process.ErrStateLocked) || time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
	}
}

// startProcess starts the process. The kernel kills it if the gateway is killed. Its output goes to the
// gateway's log.
func (s *Service) startProcess() (*child, error) {
	args := append([]string{"builder", "service", "--socket", s.client.Socket, "--state", s.o.Dir}, s.o.Args...)
	cmd := exec.Command(s.o.Executable, args...) //nolint:gosec,noctx // our own binary, which outlives the call
	cmd.Env = process.Environ(os.Environ())
	relay := logline.Relay{Log: s.o.Log, Fields: logrus.Fields{"from": "builder service"}}
	builder, err := process.StartBuilder(cmd, relay.Pass)
	if err != nil {
		return nil, err
	}
	c := &child{Builder: builder}
	s.waits.Go(func() {
		if err := c.Wait(); err != nil && !c.stopped.Load() {
			s.o.Log.WithError(err).Warn("the builder service ended")
		}
	})
	return c, nil
}
