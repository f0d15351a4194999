// Package server is BuildKit as a library: what `slipway builder` runs, with no buildkitd and no
// Docker daemon.
//
// It speaks BuildKit's own control API, so any BuildKit client may use it. What it adds is on
// its own side of the wire, where a client cannot leave it out: which Dockerfile frontends may
// run (frontend.go), which network RUN steps see (network.go), what ADD may fetch (fetch.go),
// and no entitlements at all.
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
	_ "github.com/moby/buildkit/util/grpcutil/encoding/proto" // as buildkitd has it: a packet of files is read where the last one was; a message that is used again is to be reset before RecvMsg
	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"slipway/config/identity"
	"slipway/runner/builder"
)

// Config is what a builder server is told. State and Address are required.
type Config struct {
	Address    string            // unix:///path, or tcp://host:port with TLS
	TLS        identity.Identity // who the server is and whose clients it takes; for TCP
	Revoked    string            // file of revoked clients' fingerprints, read at each connection; empty = none
	State      string            // directory of the cache; one server at a time
	Context    string            // directory that builds have their context of; empty = of their clients
	Network    string            // of RUN steps: auto (or empty), cni, slirp4netns, none, host
	OCIRuntime string            // path or name; empty = runc
	CacheBytes int64             // the cache is kept below this; 0 = DefaultCacheBytes
	Frontends  []string          // frontend images allowed besides the built-in one
	Idle       time.Duration     // stop after this time without a call; 0 = never

	InsecureRegistries []string // hosts that are read over plain HTTP; loopback always is
	Mirrors            []string // of Docker Hub, asked before it: https://host, http://host or host
	Certs              string   // directory of registries' certificates; empty = registry.CertsDir
	DNS, DNSSearch     []string // name servers and search domains of RUN steps; nil = their network's
	MaxParallelism     int      // steps at once; 0 = twice the processors

	SocketGroup int    // gid that may use the socket besides the owner; 0 = the owner's own
	Ready       func() // called once when the socket answers; may be nil

	Log logrus.FieldLogger // nil = silent
}

// DefaultCacheBytes is the cache size of a Config that names none.
const DefaultCacheBytes = 20e9

// ErrIdle is the cause with which Serve's own context ends after Idle without work.
var ErrIdle = errors.New("idle")

// Serve serves until ctx ends or nothing was asked of it for c.Idle, and returns nil
// then. Solves that run when ctx ends have three seconds to finish before they are
// cancelled. A second server on the same State fails at once with *LockedError.
func Serve(ctx context.Context, c Config) error {
	c, err := c.complete()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.State, 0o700); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	unlock, err := builder.LockState(c.State)
	if err != nil {
		return err
	}
	defer unlock()

	listener, options, err := c.listen(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	engine, err := newEngine(ctx, c)
	if err != nil {
		return fmt.Errorf("start builder in %s: %w", c.State, err)
	}
	defer func() {
		if err := engine.Close(); err != nil {
			c.Log.WithError(err).Warn("close builder")
		}
	}()

	calls := newCalls(c.Idle, func() { cancel(ErrIdle) })
	server := newGRPCServer(calls, options...)
	engine.Register(server)
	return run(ctx, server, listener, calls, c)
}

func newGRPCServer(calls *calls, options ...grpc.ServerOption) *grpc.Server {
	server := grpc.NewServer(append(options,
		grpc.ChainUnaryInterceptor(calls.unary, guardSolve, grpcerrors.UnaryServerInterceptor),
		grpc.ChainStreamInterceptor(calls.stream, grpcerrors.StreamServerInterceptor),
		grpc.MaxRecvMsgSize(defaults.DefaultMaxRecvMsgSize),
		grpc.MaxSendMsgSize(defaults.DefaultMaxSendMsgSize),
		grpc.WaitForHandlers(true),
	)...)
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	return server
}

// run serves until ctx ends, then lets solves finish for builder.StopGrace and cancels the rest.
func run(ctx context.Context, server *grpc.Server, listener net.Listener, calls *calls, c Config) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	calls.arm()
	c.Log.WithFields(logrus.Fields{"address": c.Address, "state": c.State}).Info(builder.ReadyMessage)
	if c.Ready != nil {
		c.Ready()
	}
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", c.Address, err)
	case <-ctx.Done():
	}
	c.Log.WithField("why", context.Cause(ctx).Error()).Info("builder stops")
	_ = listener.Close()
	calls.waitSolves(builder.StopGrace)
	server.Stop()
	return nil
}

// complete checks c and fills in its defaults.
func (c Config) complete() (Config, error) {
	if c.State == "" {
		return c, errors.New("builder: no state directory")
	}
	state, err := filepath.Abs(c.State)
	if err != nil {
		return c, fmt.Errorf("builder: state directory %s: %w", c.State, err)
	}
	c.State = state
	if c.Revoked != "" {
		if c.Revoked, err = filepath.Abs(c.Revoked); err != nil {
			return c, fmt.Errorf("builder: file of revoked certificates: %w", err)
		}
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
		c.Network = builder.NetworkAuto
	}
	if c.Log == nil {
		silent := logrus.New()
		silent.SetLevel(logrus.PanicLevel)
		c.Log = silent
	}
	return c, nil
}
