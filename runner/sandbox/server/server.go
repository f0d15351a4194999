// Package server runs BuildKit as a library. It implements `slipway builder`, without a buildkitd and
// without a Docker daemon.
//
// It serves BuildKit's own control API, so any BuildKit client can use it. It adds limits that a client
// cannot bypass. They restrict Dockerfile frontends (frontend.go), the network of RUN steps
// (network.go), and the addresses that ADD may fetch (dial.go). It grants no entitlements.
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/defaults"
	"github.com/moby/buildkit/util/grpcerrors"
	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	// buildkitd registers the same codec. It reuses the buffer of the last message for the next packet
	// of files. A message that is used again must be reset before RecvMsg.
	_ "github.com/moby/buildkit/util/grpcutil/encoding/proto"

	"slipway/config/netpolicy"
	"slipway/config/process"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/cgroup"
	"slipway/runner/sandbox/server/builddisk"
	"slipway/runner/sandbox/server/calls"
	"slipway/runner/sandbox/server/pushlease"
)

// Config configures a builder server. State and Address are required.
type Config struct {
	Address    string        // unix:///path
	State      string        // directory of the cache; for one server at a time
	Network    string        // network of RUN steps: auto (or empty), step, cni, slirp4netns, none, host
	OCIRuntime string        // path or name of the program; empty = runc
	CacheBytes int64         // maximum size of the cache in bytes; 0 = DefaultCacheBytes
	Frontends  []string      // frontend images allowed in addition to the built-in one
	Idle       time.Duration // stop after this time without a call; 0 = never

	InsecureRegistries []string         // hosts with plain HTTP; loopback hosts always use it
	LocalRegistries    []string         // registries on this machine, in the form host:port; only for Environment.Network
	Policy             netpolicy.Policy // addresses that the server connects to for a Dockerfile
	Mirrors            []string         // URL, or REGISTRY=URL of others than Docker Hub: https://host, http://host, host
	Certs              string           // directory of registries' certificates; empty = registry.CertsDir
	DNS, DNSSearch     []string         // name servers and search domains of RUN steps; nil = their network's
	MaxParallelism     int              // steps at once; 0 = twice the processors

	Limited bool            // enforce limits by cgroups, if they are writable
	Limits  cgroup.Settings // limits of one build; the zero value = defaults that fit the machine

	// Environment describes the process of the server.
	Environment sandbox.Environment

	// Layers is the directory of unpacked layers that builders share (package layers), an absolute path;
	// empty = none. WriteLayers adds layers to it.
	Layers      string
	WriteLayers bool

	// Disk is the file of a disk for the content and the snapshots of the cache (package builddisk); empty =
	// they are on the file system of State. The server needs a mount namespace of its own.
	Disk string
	// DiskLimit is the largest size of State in bytes for a server without a Disk, and DiskReserve the free space
	// that it leaves on the disk of State. They are watched (builddisk.Watch). 0 = no limit.
	DiskLimit, DiskReserve int64

	SocketGroup int    // gid that may use the socket in addition to the owner; 0 = the owner's group
	Ready       func() // called once when the server accepts connections; may be nil

	Log logrus.FieldLogger // nil = no log
}

// DefaultCacheBytes is the default of Config.CacheBytes.
const DefaultCacheBytes = 20e9

// ErrIdle is the cause of the end of Serve's own context after Config.Idle without calls.
var ErrIdle = errors.New("idle")

// errDiskFull is the cause of the end of Serve's own context if the files of a canceled build cannot be deleted.
var errDiskFull = errors.New("the files of a canceled build are in use until the builder restarts")

// Serve runs a server until ctx ends, or until there was no call for c.Idle; then it returns nil.
// Running solves get sandbox.StopGrace to finish before they are canceled. If another server uses the
// same State, Serve fails at once with *sandbox.LockedError. While it runs, TMPDIR of this process is a directory
// in State.
func Serve(ctx context.Context, c Config) error {
	c, err := c.complete()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.State, 0o700); err != nil {
		return fmt.Errorf("make the state directory: %w", err)
	}
	unlock, err := sandbox.LockState(c.State, c.Environment.PID)
	if err != nil {
		return err
	}
	defer unlock()
	removeTemp, err := sandbox.UseTempDir(c.State)
	if err != nil {
		return err
	}
	defer removeTemp()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	follower := newFollower()
	counter := calls.New(calls.Options{
		Idle:   c.Idle,
		OnIdle: func() { cancel(ErrIdle) },
		OnBusy: follower.reportLoad,
	})
	listener, err := c.listen(ctx, counter)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()

	end, err := openState(c)
	if err != nil {
		return fmt.Errorf("start the builder: %w", err)
	}
	defer end.closeState()
	own, err := builddisk.Open(c.Disk, c.State)
	if err != nil {
		return fmt.Errorf("start the builder: %w", err)
	}
	defer end.closeDisk(own)
	watch := builddisk.NewWatch(c.State, c.DiskLimit, c.DiskReserve, c.Log)
	limits := openLimits(ctx, c)
	defer limits.close()
	slots := newSlots(parallelism(c.MaxParallelism))
	engine, err := newEngine(ctx, c, parts{
		limits: limits, slots: slots, images: follower.images(), disk: own, watch: watch,
	})
	if err != nil {
		return fmt.Errorf("start the builder in %s: %w", c.State, err)
	}
	defer end.closeEngine(engine)
	if err := follower.follow(ctx, c, counter, slots, engine.Controller); err != nil {
		return err
	}

	solver := builddisk.Solver{
		Disk: own, Watch: watch, State: c.State, Cache: engine.cache, Log: c.Log,
		Restart: func() { cancel(errDiskFull) },
	}
	server := newGRPCServer(counter, engine.pushes, solver.Unary)
	engine.Register(server)
	return end.served(run(ctx, server, listener, counter, c))
}

// newGRPCServer returns a server without services of BuildKit. solve sees the errors of BuildKit itself.
func newGRPCServer(counter *calls.Counter, pushes *pushlease.Keeper, solve grpc.UnaryServerInterceptor) *grpc.Server {
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(
			counter.Unary, guardSolve, nameServer, grpcerrors.UnaryServerInterceptor, pushes.Unary, solve,
		),
		grpc.StatsHandler(pushes),
		grpc.ChainStreamInterceptor(counter.Stream, grpcerrors.StreamServerInterceptor),
		grpc.MaxRecvMsgSize(defaults.DefaultMaxRecvMsgSize),
		grpc.MaxSendMsgSize(defaults.DefaultMaxSendMsgSize),
		grpc.WaitForHandlers(true),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingInterval, Timeout: pingTimeout}),
	)
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	return server
}

// run serves until ctx ends. Then it waits up to sandbox.StopGrace for solves and cancels the rest.
func run(ctx context.Context, server *grpc.Server, listener net.Listener, counter *calls.Counter, c Config) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	counter.Arm()
	c.Log.WithFields(logrus.Fields{"address": c.Address, "state": c.State}).Info(process.ReadyMessage)
	if c.Ready != nil {
		c.Ready()
	}
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", c.Address, err)
	case <-ctx.Done():
	}
	c.Log.WithField("why", context.Cause(ctx).Error()).Info("the builder stops")
	_ = listener.Close()
	counter.WaitSolves(sandbox.StopGrace)
	server.Stop()
	return nil
}

// sandbox returns the options of the server's namespaces.
func (c Config) sandbox() sandbox.RunOptions {
	o := sandbox.RunOptions{State: c.State}
	if c.Layers != "" && !c.WriteLayers {
		o.ReadOnly = []string{c.Layers}
	}
	return o
}

// complete validates c and returns it with the defaults set.
func (c Config) complete() (Config, error) {
	if c.State == "" {
		return c, errors.New("builder: the state directory is empty: set --state")
	}
	state, err := filepath.Abs(c.State)
	if err != nil {
		return c, fmt.Errorf("builder: state directory %s: %w", c.State, err)
	}
	c.State = state
	if c.Layers != "" && !filepath.IsAbs(c.Layers) {
		return c, fmt.Errorf("builder: the directory of shared layers, %s, is not an absolute path", c.Layers)
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = DefaultCacheBytes
	}
	if c.CacheBytes < 0 {
		return c, fmt.Errorf("builder: cache size %d is negative", c.CacheBytes)
	}
	if err := c.checkHosts(); err != nil {
		return c, err
	}
	if c.Network == "" {
		c.Network = sandbox.NetworkAuto
	}
	if c.Log == nil {
		silent := logrus.New()
		silent.SetLevel(logrus.PanicLevel)
		c.Log = silent
	}
	return c, nil
}
