package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// BuilderOptions make a Builder.
type BuilderOptions struct {
	Executable string        // the slipway binary
	Dir        string        // of the builder's state and, unless Socket is set, its socket
	Socket     string        // path of the socket; default <Dir>/builder.sock. The runners must be able to reach it
	Network    string        // of RUN steps; empty = auto
	CacheSize  string        // as 20GB; empty = the builder's default
	Frontends  []string      // allowed besides the built-in one
	Idle       time.Duration // the builder stops itself after this time without work; 0 = never
	Gid        int           // group that may use the socket besides the gateway's user; 0 = no other
	Log        logrus.FieldLogger
}

// A Builder keeps one `slipway builder` for all builds: started when a build needs it,
// started again after it stopped for want of work or crashed, and stopped with the
// gateway. There are never two on one Dir. It is safe for concurrent use.
type Builder struct {
	o     BuilderOptions
	turn  chan struct{} // holds one token; who has it may touch what follows
	child *builderProcess
	gone  bool
}

// The times of a Builder.
const (
	builderAnswers  = 2 * time.Second  // a running builder is asked for no longer
	builderStarts   = 30 * time.Second // from start to first answer; a large cache takes seconds to open
	builderStops    = 15 * time.Second
	builderRetries  = 5 * time.Second // for a predecessor that was killed to let go of the state
	builderInterval = 50 * time.Millisecond
)

// errBuilderClosed is the answer after Close.
var errBuilderClosed = errors.New("the builder is closed")

// NewBuilder returns a Builder that has started nothing yet.
func NewBuilder(o BuilderOptions) *Builder {
	if o.Socket == "" {
		o.Socket = filepath.Join(o.Dir, "builder.sock")
	}
	b := &Builder{o: o, turn: make(chan struct{}, 1)}
	b.turn <- struct{}{}
	return b
}

// Address returns where a builder answers now, starting one when none does. It ends with
// ctx. The builder counts it as work, so the address is good for at least the idle time.
func (b *Builder) Address(ctx context.Context) (string, error) {
	select {
	case <-b.turn:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	defer func() { b.turn <- struct{}{} }()
	if b.gone {
		return "", errBuilderClosed
	}
	if b.child != nil && b.child.Running() && b.answers(ctx) == nil {
		return b.address(), nil
	}
	if err := b.start(ctx); err != nil {
		return "", fmt.Errorf("start builder: %w", err)
	}
	return b.address(), nil
}

// Close stops the builder and waits for its end.
func (b *Builder) Close() {
	<-b.turn
	defer func() { b.turn <- struct{}{} }()
	b.gone = true
	if b.child != nil {
		b.child.Stop(builderStops)
	}
}

func (b *Builder) address() string { return "unix://" + b.o.Socket }

// start starts a builder in place of the last one and waits until it answers. A state
// that is still held by a predecessor which is just being killed is tried again.
func (b *Builder) start(ctx context.Context) error {
	if b.child != nil {
		b.child.Stop(builderStops)
	}
	if err := os.MkdirAll(b.o.Dir, 0o711); err != nil { //nolint:gosec // runners pass through to the socket; the state below is 0700
		return fmt.Errorf("make its directory: %w", err)
	}
	deadline := time.Now().Add(builderRetries)
	for {
		p, err := startBuilder(b.o.Executable, b.args(), b.o.Log)
		if err != nil {
			return err
		}
		b.child = p
		err = b.await(ctx, p)
		if err == nil {
			return nil
		}
		p.Stop(builderStops)
		if !p.foundStateInUse() || time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
	}
}

// await polls a new builder until it answers, ends, or took too long.
func (b *Builder) await(ctx context.Context, p *builderProcess) error {
	ctx, cancel := context.WithTimeout(ctx, builderStarts)
	defer cancel()
	tick := time.NewTicker(builderInterval)
	defer tick.Stop()
	for {
		if err := b.answers(ctx); err == nil && p.Running() {
			return nil
		}
		select {
		case <-p.Ended():
			return p.failure()
		case <-ctx.Done():
			return fmt.Errorf("no answer on %s: %w", b.address(), context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// answers asks the builder for its health.
func (b *Builder) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, builderAnswers)
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
	args := []string{"builder", "--address", b.address(), "--state", filepath.Join(b.o.Dir, "state"), "--idle", b.o.Idle.String()}
	if b.o.Network != "" {
		args = append(args, "--network", b.o.Network)
	}
	if b.o.CacheSize != "" {
		args = append(args, "--cache-size", b.o.CacheSize)
	}
	if b.o.Gid != 0 {
		args = append(args, "--socket-group", strconv.Itoa(b.o.Gid))
	}
	for _, image := range b.o.Frontends {
		args = append(args, "--frontend", image)
	}
	return args
}

// builderEnv is what of the gateway's environment the builder needs: where programs are,
// and how registries are reached. The gateway's own settings hold secrets.
func builderEnv(environ []string) []string {
	var env []string
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		switch strings.ToUpper(name) {
		case "PATH", "HOME", "USER", "TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR":
			env = append(env, v)
		}
	}
	return env
}
