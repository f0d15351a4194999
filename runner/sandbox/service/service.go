// Package service is the builder service. It is the only part of Slipway with the rights to mount and to
// make namespaces. It starts the runners of a gateway, each as a user of its own. Each has the builder
// of its trust domain, and a sandbox for its build hooks. Package buildservice is the protocol.
//
// A compromised gateway can start runners and use builders. It cannot choose a path, a command or a
// mount, and it cannot access files or processes of other users of the machine.
package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/buildservice"
	"slipway/config/netpolicy"
	"slipway/config/safe"
	"slipway/runner/attemptca"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/disk"
)

// Options configure a Service. Program, Dir, Builders, Sandboxes and Log are required.
type Options struct {
	Program string // path of the program that runs `slipway runner`
	// Dir is the directory of the attempts. The service deletes the files that an earlier process left
	// there.
	Dir      string
	Builders Builders
	// Builder is the address of a builder that attempts use in place of Builders, unless a Run names another
	// one; empty = none.
	Builder string
	// Sandboxes makes the sandboxes for build hooks.
	Sandboxes Sandboxes
	// Peers are the users that may connect, besides the service's own.
	Peers []uint32
	// FirstUID and GID are the ids of runners. Each running one has its own uid, counted up from
	// FirstUID. If FirstUID is 0, runners keep the service's user.
	FirstUID, GID int
	Grace         time.Duration // time between the stop signal to a runner and the kill; 0 = 5 s
	// DiskBytes is the size of the disk of each attempt; 0 = attempts have directories of the state's disk.
	DiskBytes int64
	// WatchBytes is the largest size of the directory of an attempt without a disk. A runner that exceeds it is
	// stopped, and so is one that leaves too little free space; 0 = no limit.
	WatchBytes int64
	// Environ are further variables of runners: the proxies and the authorities of this machine.
	Environ []string
	// Policy are the addresses that runners connect to for a repository. The gateway cannot change it.
	Policy netpolicy.Policy
	// NotHeld are limits of builders that have no effect on this machine, with the reason.
	NotHeld []string
	Log     logrus.FieldLogger
}

// Builders connects to the builders of trust domains, and starts them if necessary.
type Builders interface {
	Dial(ctx context.Context, domain string) (net.Conn, error)
}

// Sandboxes makes sandboxes for build hooks.
type Sandboxes interface {
	// Level returns the level of the sandboxes. LevelOff means that Open fails.
	Level() buildservice.Level
	// Open makes the sandbox of an attempt.
	Open(ctx context.Context, a Place) (Sandbox, error)
}

// A Place describes the resources that the sandbox of an attempt shares with its runner.
type Place struct {
	Attempt   string     // name of the attempt, e.g. "b1-2"
	Workspace string     // directory that hooks may change
	UID, GID  int        // ids of the runner, which owns the workspace
	Disk      *disk.Disk // disk of the attempt
	// Sites are the servers that the runner serves inside the sandbox. Trust are the files that make
	// programs in the sandbox trust them.
	Sites []buildservice.Site
	Trust []attemptca.File
}

// group returns the group of the workspace. A runner that keeps the service's user has its group, too.
func (p Place) group() int {
	if p.UID == 0 {
		return 0
	}
	return p.GID
}

// ErrOff reports that this machine cannot run sandboxes for build hooks. A retry does not help.
var ErrOff = errors.New("build hooks are off here")

// A Sandbox runs the build hooks of one attempt.
type Sandbox interface {
	// Socket returns the connection to process 1 of the sandbox. The caller closes it after it was
	// passed on.
	Socket() *os.File
	// Listen opens the listener of a site, an index in Place.Sites. The caller closes the file. It returns
	// an error that wraps ErrOff if the sandbox has no network.
	Listen(ctx context.Context, site int) (*os.File, error)
	// Limit returns the limit that the sandbox met, with its setting; "" = none.
	Limit() string
	// Close ends all processes in the sandbox, and deletes it.
	Close() error
}

// maxAttempts bounds the running attempts of a service. A gateway has its own limit below it.
const maxAttempts = buildservice.MaxRunners

// spaceTimeout bounds the start of a builder that only finds whether the disk has space for its cache.
const spaceTimeout = 10 * time.Second

// requestTimeout bounds the wait for the first message of a connection.
const requestTimeout = 10 * time.Second

// A Service serves gateways. It is safe for concurrent use.
type Service struct {
	o Options

	conns *connections

	mu       sync.Mutex
	attempts map[string]bool // running attempts by name
	uids     map[int]bool    // uids of running attempts
	wg       sync.WaitGroup  // connections
}

// New returns a Service. It deletes the files of attempts that an earlier process left.
func New(o Options) (*Service, error) {
	if o.Grace == 0 {
		o.Grace = 5 * time.Second
	}
	// A killed service without a mount namespace of its own leaves its disks mounted.
	err := disk.Sweep(o.attemptsDir())
	if err == nil {
		err = os.RemoveAll(o.attemptsDir())
	}
	if err != nil {
		return nil, fmt.Errorf("delete the files of earlier attempts: %w", err)
	}
	//nolint:gosec // each runner passes through to its own directory
	if err := os.MkdirAll(o.attemptsDir(), 0o711); err != nil {
		return nil, fmt.Errorf("make the directory of attempts: %w", err)
	}
	return &Service{o: o, conns: newConnections(), attempts: map[string]bool{}, uids: map[int]bool{}}, nil
}

func (o Options) attemptsDir() string { return filepath.Join(o.Dir, "attempts") }

// Serve accepts connections until ctx ends. Then it ends all attempts and waits for them. The listener's
// network must be unixpacket.
func (s *Service) Serve(ctx context.Context, listener *net.UnixListener) error {
	defer s.wg.Wait()
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	for {
		socket, err := listener.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			return nil
		case sandbox.RetryAccept(ctx, err):
			s.o.Log.WithError(err).Warn("cannot accept a connection: will retry")
			continue
		case err != nil:
			return fmt.Errorf("accept a connection of the gateway: %w", err)
		}
		s.wg.Go(func() {
			conn := buildservice.NewConn(socket)
			defer conn.Close()
			s.admitConnection(ctx, conn)
		})
	}
}

// admitConnection serves a connection, unless its user has too many.
func (s *Service) admitConnection(ctx context.Context, conn buildservice.Conn) {
	uid, err := conn.PeerUID()
	if err != nil {
		s.o.Log.WithError(err).Warn("connection refused")
		return
	}
	admitted, first := s.conns.add(uid)
	if first {
		s.o.Log.WithField("user", uid).Warnf("connections refused: the user has %d already", maxConnections)
	}
	if !admitted {
		return
	}
	defer s.conns.remove(uid)
	// An error of one attempt must not end the others.
	if err := safe.Do(func() error { s.serve(ctx, conn, uid); return nil }); err != nil {
		s.o.Log.WithError(err).Error("connection ended")
	}
}

// serve serves one connection: one attempt, or one request for the level or for space.
func (s *Service) serve(ctx context.Context, conn buildservice.Conn, uid uint32) {
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // ends Receive
	conn.SetReadDeadline(time.Now().Add(requestTimeout))
	request, err := receive(conn)
	if err == nil {
		// Refuse only after the request is read: the peer loses a reply that arrives before.
		err = s.checkPeer(uid)
	}
	conn.SetReadDeadline(time.Time{})
	switch {
	case err != nil:
	case request.Check != nil:
		level := s.o.Sandboxes.Level()
		level.NotHeld = slices.Concat(s.o.NotHeld, level.NotHeld)
		_ = conn.Send(buildservice.Reply{Level: &level}, nil) // the peer may be gone
	case request.Space != nil:
		err = s.answerSpace(ctx, conn, *request.Space)
	case request.Run != nil:
		s.run(ctx, conn, *request.Run)
	default:
		err = errors.New("the first message must start an attempt")
	}
	if err != nil {
		s.o.Log.WithError(err).Warn("connection refused")
		_ = conn.Send(buildservice.Reply{Refused: err.Error()}, nil) // the peer may be gone
	}
}

// checkPeer returns an error for a connection of a user that is not allowed. It is a second protection
// after the mode of the socket.
func (s *Service) checkPeer(uid uint32) error {
	//nolint:gosec // a uid fits
	if uid != uint32(os.Geteuid()) && !slices.Contains(s.o.Peers, uid) {
		return fmt.Errorf("user %d may not use the builder service: start it with --gateway-user", uid)
	}
	return nil
}

// receive returns the next request. A file that comes with it is closed, because no request has one.
func receive(conn buildservice.Conn) (request buildservice.Request, err error) {
	file, err := conn.Receive(&request)
	if file != nil {
		return request, errors.Join(errors.New("the request has a file: files are not allowed"), file.Close())
	}
	return request, err
}

// admit reserves a name and a uid for an attempt. The caller calls release at its end.
func (s *Service) admit(name string) (uid int, release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.attempts[name]:
		return 0, nil, fmt.Errorf("attempt %s runs already", name)
	case len(s.attempts) >= maxAttempts:
		return 0, nil, fmt.Errorf("%d attempts run already: wait until one ends", len(s.attempts))
	}
	s.attempts[name] = true
	uid = s.o.FirstUID
	for uid != 0 && s.uids[uid] {
		uid++
	}
	s.uids[uid] = true
	return uid, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.attempts, name)
		delete(s.uids, uid)
	}, nil
}

// NoSandboxes implements Sandboxes for a machine that cannot make sandboxes. Build hooks are off.
type NoSandboxes struct{ Why string }

// Level returns LevelOff with the reason.
func (n NoSandboxes) Level() buildservice.Level {
	return buildservice.Level{Hooks: buildservice.LevelOff, Why: n.Why}
}

// Open returns an error with the reason.
func (n NoSandboxes) Open(context.Context, Place) (Sandbox, error) {
	return nil, fmt.Errorf("%w: %s", ErrOff, n.Why)
}
