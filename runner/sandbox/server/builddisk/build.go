package builddisk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/executor"
	resourcestypes "github.com/moby/buildkit/executor/resources/types"
	gatewaypb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"

	"slipway/runner/buildkit"
	"slipway/runner/sandbox/disk"
)

const (
	// samplePeriod is the interval in which the free space is read while a step runs. A program that fails
	// for lack of space may delete its files before it ends.
	samplePeriod = 20 * time.Millisecond
	// pruneTimeout bounds the time of a failed build until the cache is pruned.
	pruneTimeout = time.Minute
	// noSpace is the kernel's error text for a full disk. BuildKit's errors have no type for it.
	noSpace = "no space left on device"
)

// Wrap returns an executor whose steps fail with the limit and its setting if they fail on a full disk.
func (d *Disk) Wrap(next executor.Executor) executor.Executor {
	if d == nil {
		return next
	}
	return diskExecutor{next, d}
}

type diskExecutor struct {
	executor.Executor
	disk *Disk
}

var _ executor.Executor = diskExecutor{}

// Run implements executor.Executor.
func (e diskExecutor) Run(ctx context.Context, id string, root executor.Mount, mounts []executor.Mount,
	process executor.ProcessInfo, started chan<- struct{}) (resourcestypes.Recorder, error) {
	stop := e.disk.watch()
	recorder, err := e.Executor.Run(ctx, id, root, mounts, process, started)
	reason := stop()
	var exit *gatewaypb.ExitError
	if reason != "" && ctx.Err() == nil && errors.As(err, &exit) {
		exit.Err = errors.New(reason)
	}
	return recorder, err
}

// watch reads the free space until stop is called. stop returns the reason if the disk was full.
func (d *Disk) watch() (stop func() string) {
	done, result := make(chan struct{}), make(chan string, 1)
	go func() {
		ticker := time.NewTicker(samplePeriod)
		defer ticker.Stop()
		reason := ""
		for reason == "" {
			reason = d.full()
			select {
			case <-ticker.C:
				continue
			case <-done:
			}
			break
		}
		result <- reason
	}()
	return func() string {
		close(done)
		if reason := <-result; reason != "" {
			return reason
		}
		return d.full()
	}
}

// A Solver handles the solves of a builder on a disk.
type Solver struct {
	Disk  *Disk // nil = none
	State string
	Cache Pruner
	Log   logrus.FieldLogger
}

// Unary is an interceptor. Before a build, it prunes the cache if there is little space. If a build fails
// because the disk is full, it adds the limit and the setting to the error, and deletes all of the cache
// that no other build uses, so that the next build has space.
func (s Solver) Unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if _, solve := req.(*controlapi.SolveRequest); !solve || s.Disk == nil {
		return next(ctx, req)
	}
	if err := s.Disk.PruneAtStart(ctx, s.Cache); err != nil {
		s.Log.WithError(err).Warn("a build starts with little space")
	}
	resp, err := next(ctx, req)
	if err == nil {
		return resp, nil
	}
	err, full := s.explain(err)
	if full {
		s.deleteCache()
	}
	return resp, err
}

// explain adds the limit to the error of a COPY, an ADD or a base image without space. full reports whether
// the disk was full. Only the databases of BuildKit are on the disk of the state.
func (s Solver) explain(err error) (explained error, full bool) {
	var exit *gatewaypb.ExitError
	if errors.As(err, &exit) {
		return err, exit.Err != nil && strings.HasPrefix(exit.Err.Error(), buildkit.DiskFull)
	}
	if !strings.Contains(err.Error(), noSpace) {
		return err, false
	}
	if usage, readErr := disk.Read(s.State); readErr == nil && usage.Full() {
		return err, false
	}
	return fmt.Errorf("%w: %s", err, s.Disk.reason()), true
}

// deleteCache deletes all unused entries of the cache.
func (s Solver) deleteCache() {
	ctx, cancel := context.WithTimeout(context.Background(), pruneTimeout)
	defer cancel()
	if err := prune(ctx, s.Cache, client.PruneInfo{All: true}); err != nil {
		s.Log.WithError(err).Warn("the disk of the builder stays full")
		return
	}
	s.Log.Info("a build filled the disk of the builder; its cache is deleted")
}
