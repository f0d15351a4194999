// Package domains runs one builder process for each trust domain, with its own state directory. So
// builds of different domains share no cache, no running step, and no API.
//
// The supervisor's caller chooses the domain. A client of a builder cannot choose it. Each domain has
// its own socket, in a directory that only the supervisor's user can enter. The supervisor opens the
// sockets and gives them to its children, so connections wait while a child starts or stops.
package domains

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/process"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/crashsafe"
)

// Options configure a Supervisor. Executable, Dir and Log are required.
type Options struct {
	Executable string        // path of a program with the command builder
	Dir        string        // directory of all domains, for one supervisor at a time
	Args       []string      // further arguments of each builder, for example --network none
	Environ    []string      // environment of each builder
	Group      int           // gid that may use the sockets besides the owner; 0 = none
	Idle       time.Duration // time without a client after which a builder stops; 0 = never
	MaxRunning int           // builders that run at the same time; 0 = DefaultMaxRunning
	Parallel   int           // steps that all builders together run at once; 0 = twice the processors
	CacheBytes int64         // maximum size of all caches together, in bytes; 0 = DefaultCacheBytes

	// DiskBytes is the size of the disk of each domain, in bytes: the cache, and what its builds write.
	// 0 = domains have no disks, and share that of Dir. Disks need a privileged process. DiskReserve is the
	// space that disks leave free on the disk of Dir, in bytes. MinDiskBytes is the size of the smallest disk
	// that a domain gets if there is too little space for DiskBytes; 0 = DefaultMinDiskBytes.
	DiskBytes    int64
	DiskReserve  int64
	MinDiskBytes int64
	// WatchBytes is the largest size of a domain without a disk, in bytes: its builder watches it, and leaves
	// DiskReserve free on the disk of Dir. 0 = no limit.
	WatchBytes int64

	// ShareLayers unpacks the layers of public images once for all domains (pool.go).
	ShareLayers bool

	// Obsolete are the states of earlier releases, on the file system of Dir. They are deleted.
	Obsolete []string

	// Network makes the network of a domain's builder, before the builder starts. nil = builders use the
	// network of this process.
	Network func(ctx context.Context, domain string) (Network, error)

	// DiskSpace returns the free and the total bytes of a directory's file system; nil asks the kernel.
	DiskSpace func(dir string) (free, total int64, err error)

	Log logrus.FieldLogger
}

// A Network is the network of one builder.
type Network interface {
	// Enter moves this thread to the network. See process.Options.Setup.
	Enter() error
	// Environ returns variables that a builder in the network needs.
	Environ() []string
	// Close removes the network. It is called when no process of the builder is left.
	Close() error
}

// DefaultMaxRunning is the default of Options.MaxRunning. An idle builder uses about 20 MB.
const DefaultMaxRunning = 10

// DefaultCacheBytes is the default of Options.CacheBytes.
const DefaultCacheBytes = 20e9

// DefaultMinDiskBytes is the default of Options.MinDiskBytes.
const DefaultMinDiskBytes = 2 << 30

// The time limits of a Supervisor.
const (
	stopTimeout  = sandbox.KillGrace + 5*time.Second // time from the stop signal to the kill of a child
	hungTimeout  = 15 * time.Second                  // the same for a child that does not answer
	stateTimeout = 5 * time.Second                   // time that a killed predecessor gets to release a directory
	statePoll    = 20 * time.Millisecond
)

// errClosed is the error of Address and Dial after Close.
var errClosed = errors.New("the supervisor of builders is closed")

// A Supervisor starts the builder of a domain when a client needs it, and again after a crash or an
// idle stop. It is safe for concurrent use.
type Supervisor struct {
	o       Options
	machine crashsafe.Machine
	ctx     context.Context // ends with Close
	cancel  context.CancelCauseFunc
	opening chan struct{}  // holds one token; its owner may open the directory
	watches sync.WaitGroup // goroutines of domains and children

	mu      sync.Mutex
	closed  bool
	unlock  func()                // releases the directory; nil = it is not open
	domains map[string]*domain    // open domains by id
	running int                   // children that run or are being started
	resting map[string]cacheState // states of earlier supervisors, by the name of the directory
	changed chan struct{}         // closed and replaced when a child or a deletion ends, or a load changes
	// deletions is the number of caches that are being deleted.
	deletions int
	images    map[string]bool // images with layers that builders had to unpack; false = to be unpacked for all
	pooling   chan struct{}   // holds a token if there may be an image to unpack
	sized     chan struct{}   // holds a token if a size or the number of states has changed
}

// New returns a Supervisor. It starts no process and opens no file.
func New(o Options) *Supervisor {
	if o.MaxRunning == 0 {
		o.MaxRunning = DefaultMaxRunning
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.MinDiskBytes == 0 {
		o.MinDiskBytes = DefaultMinDiskBytes
	}
	if o.DiskSpace == nil {
		o.DiskSpace = diskSpace
	}
	if dir, err := filepath.Abs(o.Dir); err == nil { // it fails only without a working directory
		o.Dir = dir
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	s := &Supervisor{
		o:       o,
		machine: sandbox.ThisMachine(),
		ctx:     ctx,
		cancel:  cancel,
		opening: make(chan struct{}, 1),
		domains: map[string]*domain{},
		resting: map[string]cacheState{},
		images:  map[string]bool{},
		pooling: make(chan struct{}, 1),
		sized:   make(chan struct{}, 1),
		changed: make(chan struct{}),
	}
	s.opening <- struct{}{}
	return s
}

// Address returns the address of a domain's socket, for example unix:///data/builder/9f…/builder.sock. It
// starts the domain's builder if none runs, and waits until it accepts connections. Later connections
// start it again, so the address stays valid until Close. Address returns an error if the builder does
// not start, or the cause if ctx ends.
func (s *Supervisor) Address(ctx context.Context, id string) (string, error) {
	ctx, cancel := s.untilClose(ctx)
	defer cancel()
	for {
		d, err := s.findOnFullDisk(ctx, id)
		if err == nil {
			err = s.ensure(ctx, d)
		}
		switch {
		case errors.Is(err, errDropped): // find opens the domain again
		case err != nil:
			return "", fmt.Errorf("start the builder: %w", err)
		default:
			return "unix://" + d.socket(), nil
		}
	}
}

// Dial connects to a domain's builder, and starts it if necessary (Address).
func (s *Supervisor) Dial(ctx context.Context, id string) (net.Conn, error) {
	if _, err := s.Address(ctx, id); err != nil {
		return nil, err
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", s.socketOf(id))
	if err != nil {
		return nil, fmt.Errorf("connect to the builder: %w", err)
	}
	return conn, nil
}

// Close stops all builders and waits for their end. It may be called more than once.
func (s *Supervisor) Close() {
	s.cancel(errClosed)
	<-s.opening
	defer func() { s.opening <- struct{}{} }()
	s.mu.Lock()
	s.closed = true
	all := s.domains
	s.domains = map[string]*domain{}
	s.mu.Unlock()
	var stops sync.WaitGroup
	for _, d := range all {
		stops.Go(func() { s.closeDomain(d) })
	}
	stops.Wait()
	s.watches.Wait()
	if s.unlock != nil {
		s.unlock()
		s.unlock = nil
	}
}

// untilClose returns a context that also ends with Close.
func (s *Supervisor) untilClose(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.ctx, func() { cancel(errClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

// find returns the domain with an id. It opens the directory and the domain's socket if necessary.
func (s *Supervisor) find(ctx context.Context, id string) (*domain, error) {
	if d, err := s.known(id); d != nil || err != nil {
		return d, err
	}
	select {
	case <-s.opening:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { s.opening <- struct{}{} }()
	if d, err := s.known(id); d != nil || err != nil {
		return d, err
	}
	if s.unlock == nil {
		if err := s.open(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.dropBrokenState(filepath.Base(s.dirOf(id))); err != nil {
		return nil, err
	}
	d, err := openDomain(id, s.dirOf(id), s.o.Group)
	if err != nil {
		return nil, err
	}
	s.storeRecord(d, readState(d.dir).bytes)
	s.mu.Lock()
	name := filepath.Base(d.dir)
	d.bytes = s.resting[name].bytes
	delete(s.resting, name)
	s.domains[id] = d
	s.mu.Unlock()
	s.watches.Go(func() { s.watch(d) })
	s.checkSpace()  // another domain's cache may have to be deleted for it
	wake(s.pooling) // sharing begins with the second domain
	return d, nil
}

// known returns an open domain, or nil. It returns errClosed after Close.
func (s *Supervisor) known(id string) (*domain, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	return s.domains[id], nil
}

// open makes and locks the directory, and starts the goroutines that watch all domains. It waits while a
// predecessor that is being killed has the lock.
func (s *Supervisor) open(ctx context.Context) error {
	if err := os.MkdirAll(s.o.Dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of the builders: %w", err)
	}
	deadline := time.NewTimer(stateTimeout)
	defer deadline.Stop()
	for {
		unlock, err := sandbox.LockState(s.o.Dir, 0)
		if err == nil {
			if err := s.prepare(); err != nil {
				unlock()
				return err
			}
			s.unlock = unlock
			s.watches.Go(s.balance)
			s.watches.Go(s.tidy)
			if s.o.ShareLayers {
				s.watches.Go(s.shareLayers)
			}
			return nil
		}
		if !errors.Is(err, process.ErrStateLocked) {
			return err
		}
		select {
		case <-time.After(statePoll):
		case <-deadline.C:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// prepare makes the directory ready after it is locked.
func (s *Supervisor) prepare() error {
	if s.o.ShareLayers {
		if err := s.openPool(); err != nil {
			return err
		}
	}
	return s.sweep()
}

// wake puts a token into a channel that holds one.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// notify wakes the goroutines that wait for a change. The caller holds s.mu.
func (s *Supervisor) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}
