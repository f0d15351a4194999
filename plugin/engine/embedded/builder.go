package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"slipway/config/process"
)

// BuilderOptions configure a Builder. Executable, Dir and Log are required.
type BuilderOptions struct {
	Executable string        // path of the slipway binary
	Dir        string        // directory of the builder's state and, by default, its socket
	Socket     string        // path of the socket, which runners must be able to reach; empty = <Dir>/builder.sock
	Network    string        // network mode of RUN steps; empty = auto
	CacheSize  string        // limit of the build cache, e.g. 20GB; empty = the builder's default
	Memory     string        // memory of one build, e.g. 4GB; empty = the builder's default
	Processes  int64         // processes and threads of one build; 0 = the builder's default
	CPUs       float64       // processors of one build; 0 = the builder's default
	Builds     int           // builds at once, which share the machine; 0 = 1
	Frontends  []string      // frontend images allowed besides the built-in one
	Idle       time.Duration // time without work after which the builder stops itself; 0 = never
	Gid        int           // group that may use the socket besides the gateway's user; 0 = none
	Log        logrus.FieldLogger
}

// A Builder supervises one `slipway builder` process for all builds. It starts the process when a
// build needs it, and starts it again after a crash or an idle stop. Close stops it. Two processes
// never use one Dir at the same time. It is safe for concurrent use.
type Builder struct {
	o      BuilderOptions
	lock   chan struct{} // holds one token; its owner may use the fields below
	child  *process.Builder
	closed bool
}

// The time limits of a Builder.
const (
	pingTimeout  = 2 * time.Second  // for the response to a health check
	stopTimeout  = 15 * time.Second // from the stop signal to the kill
	stateTimeout = 5 * time.Second  // how long start waits for a killed predecessor to release the state directory
)

// errBuilderClosed is the error of Address after Close.
var errBuilderClosed = errors.New("the builder is closed")

// NewBuilder returns a Builder. It starts no process.
func NewBuilder(o BuilderOptions) *Builder {
	if o.Socket == "" {
		o.Socket = filepath.Join(o.Dir, "builder.sock")
	}
	b := &Builder{o: o, lock: make(chan struct{}, 1)}
	b.lock <- struct{}{}
	return b
}

// Address returns the address of a running builder, and starts one if necessary. It returns an
// error when ctx ends, or if the builder does not start. The health check counts as work, so the
// address stays valid for at least the idle time.
func (b *Builder) Address(ctx context.Context) (string, error) {
	select {
	case <-b.lock:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	defer func() { b.lock <- struct{}{} }()
	if b.closed {
		return "", errBuilderClosed
	}
	if b.child != nil && b.child.Running() && b.ping(ctx) == nil {
		return b.address(), nil
	}
	if err := b.start(ctx); err != nil {
		return "", fmt.Errorf("start builder: %w", err)
	}
	return b.address(), nil
}

// Close stops the builder and waits for its end. It may be called more than once.
func (b *Builder) Close() {
	<-b.lock
	defer func() { b.lock <- struct{}{} }()
	b.closed = true
	if b.child != nil {
		b.child.Stop(stopTimeout)
	}
}

func (b *Builder) address() string { return "unix://" + b.o.Socket }

// start starts a builder and waits until it accepts connections. It retries while a predecessor that
// is being killed still locks the state directory.
func (b *Builder) start(ctx context.Context) error {
	if b.child != nil {
		b.child.Stop(stopTimeout)
	}
	//nolint:gosec // runners pass through to the socket; the state below is 0700
	if err := os.MkdirAll(b.o.Dir, 0o711); err != nil {
		return fmt.Errorf("make its directory: %w", err)
	}
	deadline := time.Now().Add(stateTimeout)
	for {
		child, err := b.startProcess()
		if err != nil {
			return err
		}
		b.child = child
		err = child.WaitReady(ctx)
		if err == nil {
			return nil
		}
		child.Stop(stopTimeout)
		if !errors.Is(err, process.ErrStateLocked) || time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
	}
}

// startProcess starts the process. The kernel kills it if the gateway is killed, so that the next
// gateway can use the state directory. Its output goes to the gateway's log.
func (b *Builder) startProcess() (*process.Builder, error) {
	cmd := exec.Command(b.o.Executable, b.args()...) //nolint:gosec,noctx // our own binary, which outlives the call
	cmd.Env = process.Environ(os.Environ())
	child, err := process.StartBuilder(cmd, func(line string) { b.o.Log.WithField("from", "builder").Info(line) })
	if err != nil {
		return nil, err
	}
	go func() {
		if err := child.Wait(); err != nil {
			b.o.Log.WithError(err).Warn("the builder ended")
		}
	}()
	return child, nil
}

// ping runs a health check.
func (b *Builder) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	conn, err := grpc.NewClient(b.address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_, err = grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	return err
}

func (b *Builder) args() []string {
	args := []string{
		"builder", "--address", b.address(),
		"--state", filepath.Join(b.o.Dir, "state"), "--idle", b.o.Idle.String(),
	}
	if b.o.Network != "" {
		args = append(args, "--network", b.o.Network)
	}
	if b.o.CacheSize != "" {
		args = append(args, "--cache-size", b.o.CacheSize)
	}
	if b.o.Memory != "" {
		args = append(args, "--build-memory", b.o.Memory)
	}
	if b.o.Processes != 0 {
		args = append(args, "--build-processes", strconv.FormatInt(b.o.Processes, 10))
	}
	if b.o.CPUs != 0 {
		args = append(args, "--build-cpus", strconv.FormatFloat(b.o.CPUs, 'g', -1, 64))
	}
	if b.o.Builds != 0 {
		args = append(args, "--builds", strconv.Itoa(b.o.Builds))
	}
	if b.o.Gid != 0 {
		args = append(args, "--socket-group", strconv.Itoa(b.o.Gid))
	}
	for _, image := range b.o.Frontends {
		args = append(args, "--frontend", image)
	}
	return args
}
