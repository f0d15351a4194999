package domains

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"slipway/config/logline"
	"slipway/config/process"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/domains/link"
)

// A child is a running builder.
type child struct {
	*process.Builder
	link    net.Conn
	network Network     // nil = that of this process
	stopped atomic.Bool // the supervisor stopped it, so its exit code does not matter

	steps int // the last share of the steps; owned by Supervisor.balance

	// The fields below are guarded by Supervisor.mu.
	busy      bool      // a client is using it
	idleSince time.Time // if it is not busy
	refusedAt time.Time // time at which it last refused to stop
}

// sendTimeout is the time limit of a message to a builder.
const sendTimeout = time.Second

// Write sends a message of package link. It fails if the child has ended, or does not read.
func (c *child) Write(message []byte) (int, error) {
	if err := c.link.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return 0, err
	}
	return c.link.Write(message)
}

// stop ends the child and waits for its end.
func (c *child) stop() {
	c.stopped.Store(true)
	c.Stop(stopTimeout)
}

func (c *child) isStopped() bool { return c.stopped.Load() }

// startChild starts the builder of a domain on its disk and in its network, and waits until it accepts
// connections.
func (s *Supervisor) startChild(ctx context.Context, d *domain) (*child, error) {
	ready := make(chan error, 1)
	go func() { ready <- s.prepareState(ctx, d) }()
	var network Network
	var err error
	if s.o.Network != nil {
		network, err = s.o.Network(ctx, d.id)
		if err != nil {
			err = fmt.Errorf("make the network of the builder: %w", err)
		}
	}
	err = errors.Join(err, <-ready)
	if err != nil {
		s.closeNetwork(network)
		return nil, err
	}
	c, err := s.startIn(d, network)
	if err != nil {
		s.closeNetwork(network)
		return nil, err
	}
	s.watches.Go(func() { s.receive(d, c) })
	if s.isWatched(d) {
		s.watches.Go(func() { s.watchReserve(c) })
	}
	if err := c.WaitReady(ctx); err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

// closeNetwork removes the network of a builder that has ended or did not start.
func (s *Supervisor) closeNetwork(network Network) {
	if network == nil {
		return
	}
	if err := network.Close(); err != nil {
		s.o.Log.WithError(err).Warn("cannot remove the network of a builder; the next start tries again")
	}
}

// startIn starts the builder of a domain. The kernel kills it if the supervisor is killed, so that the next
// supervisor can use the state directory. Its output goes to the supervisor's log.
func (s *Supervisor) startIn(d *domain, network Network) (*child, error) {
	conn, linkFile, err := link.Pair()
	if err != nil {
		return nil, err
	}
	defer func() { _ = linkFile.Close() }() // the child has it
	socket, err := d.listener.File()
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("pass the socket to the builder: %w", err)
	}
	defer func() { _ = socket.Close() }()             // the child has it
	cmd := exec.Command(s.o.Executable, s.args(d)...) //nolint:gosec,noctx // our own binary, which outlives the call
	cmd.Env = append([]string{}, s.o.Environ...)
	sandbox.Inheritance{Listener: socket, Link: linkFile}.Pass(cmd)
	relay := logline.Relay{Log: s.o.Log, Fields: logrus.Fields{"from": "builder", "domain": d.id}}
	var enter func() error
	if network != nil {
		cmd.Env = append(cmd.Env, network.Environ()...)
		enter = network.Enter
	}
	builder, err := process.StartBuilderIn(cmd, enter, relay.Pass)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &child{Builder: builder, link: conn, network: network, idleSince: time.Now()}, nil
}

func (s *Supervisor) args(d *domain) []string {
	var shared []string
	if s.o.ShareLayers {
		shared = append(shared, "--layers", s.pool().Dir)
	}
	if s.hasDisk(d) {
		shared = append(shared, "--disk", s.diskFile(d))
	}
	if s.isWatched(d) {
		shared = append(shared,
			"--disk-limit", strconv.FormatInt(s.o.WatchBytes, 10),
			"--disk-reserve", strconv.FormatInt(s.o.DiskReserve, 10))
	}
	if d.writesLayers {
		shared = append(shared, "--write-layers")
	}
	return slices.Concat([]string{
		"builder",
		"--address", "unix://" + d.socket(),
		"--state", filepath.Join(d.dir, stateDir),
		"--idle", s.o.Idle.String(),
		"--parallel", strconv.Itoa(stepsOf(s.o.Parallel)),
		"--cache-size", strconv.FormatInt(s.o.CacheBytes, 10),
	}, shared, s.o.Args)
}

// receive records the reports of a child until all its processes have ended, and then removes its network.
func (s *Supervisor) receive(d *domain, c *child) {
	defer s.closeNetwork(c.network)
	defer func() { _ = c.link.Close() }()
	link.Reports{
		Busy: func(busy bool) {
			s.update(func() { c.busy, c.idleSince = busy, time.Now() })
		},
		Refused: func() {
			s.update(func() { c.refusedAt = time.Now() })
		},
		Size:  func(bytes int64) { s.recordSize(d, bytes) },
		Image: s.addImage,
	}.Receive(c.link)
}

// recordSize stores the size of a domain's cache, and lets tidy check the space.
func (s *Supervisor) recordSize(d *domain, bytes int64) {
	s.mu.Lock()
	changed := d.bytes != bytes
	d.bytes = bytes
	s.mu.Unlock()
	if !changed {
		return
	}
	s.storeRecord(d, bytes)
	s.checkSpace()
}

// storeRecord stores the size of a domain's cache. An old or absent record only changes the order of deletions, so an
// error, for example on a full disk, is logged.
func (s *Supervisor) storeRecord(d *domain, bytes int64) {
	if err := writeRecord(d.dir, record{Domain: d.id, Bytes: bytes}); err != nil {
		s.o.Log.WithError(err).Warn("cannot store the size of a cache")
	}
}

// checkSpace lets tidy check the space soon.
func (s *Supervisor) checkSpace() { wake(s.sized) }

// update changes fields that are guarded by s.mu, and wakes the goroutines that wait for a change.
func (s *Supervisor) update(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	s.notify()
}

// pingTimeout is the time that a builder gets to answer a health check. A machine under load needs
// seconds.
const pingTimeout = 10 * time.Second

// isServing reports whether a child runs and answers. The check counts as activity of a client, so the
// child keeps running for at least the idle time. If the child ends during the check, the result is
// false.
func (s *Supervisor) isServing(ctx context.Context, d *domain, c *child) bool {
	if !c.Running() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	go func() {
		select {
		case <-c.Ended():
			cancel()
		case <-ctx.Done():
		}
	}()
	conn, err := grpc.NewClient("unix://"+d.socket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	_, err = grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	// The server of a killed builder lives a little longer than the builder's process, and may have answered.
	return err == nil && c.Running()
}
