package builddisk

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/executor"
	resourcestypes "github.com/moby/buildkit/executor/resources/types"
	gatewaypb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/llbsolver/errdefs"
	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"

	"slipway/runner/buildkit"
	"slipway/runner/sandbox/disk"
)

const (
	// samplePeriod is the interval in which the free space is read while a step runs. A program that fails
	// for lack of space may delete its files before it ends.
	samplePeriod = 20 * time.Millisecond
	// pruneTimeout bounds the time of a failed build until the cache is deleted. Another build may use the
	// disk for longer.
	pruneTimeout = 10 * time.Second
	// prunePeriod is the interval of the attempts to delete the cache.
	prunePeriod = 50 * time.Millisecond
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

// A Solver handles the solves of a builder on a disk, or on a watched directory.
type Solver struct {
	Disk  *Disk  // nil = none
	Watch *Watch // nil = none
	State string
	Cache Pruner
	// Restart ends the builder of a watched directory, if the cache of a canceled build cannot be deleted.
	Restart func()
	Log     logrus.FieldLogger
}

// Unary is an interceptor. Before a build, it prunes the cache if there is little space. If a build fails
// because the disk is full, it adds the limit and the setting to the error, and deletes all of the cache
// that no other build uses, so that the next build has space.
func (s Solver) Unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	_, solve := req.(*controlapi.SolveRequest)
	switch {
	case solve && s.Watch != nil:
		return s.watched(ctx, req, next)
	case !solve || s.Disk == nil:
		return next(ctx, req)
	}
	if err := s.Disk.PruneAtStart(ctx, s.Cache); err != nil {
		s.Log.WithError(err).Warn("a build starts with little space")
	}
	resp, err := next(ctx, req)
	if err == nil {
		return resp, nil
	}
	full, err := s.explain(err)
	if full {
		releaseStep(err)
		_ = s.deleteCache() // no other program uses the disk
	}
	return resp, err
}

// watched is Unary for a watched directory.
func (s Solver) watched(ctx context.Context, req any, next grpc.UnaryHandler) (any, error) {
	if err := s.Watch.PruneAtStart(ctx, s.Cache); err != nil {
		return nil, err
	}
	ctx, end := s.Watch.begin(ctx)
	resp, err := next(ctx, req)
	why := end()
	if err == nil {
		return resp, nil
	}
	full, explained := s.Watch.explain(why, err)
	if !full {
		return resp, explained
	}
	releaseStep(err)
	if others := s.deleteCache(); others != nil {
		return nil, fmt.Errorf("the build was stopped: %w", others) // not caused by its Dockerfile
	}
	return resp, explained
}

// releaseStep releases the files of a failed step.
func releaseStep(err error) {
	var step *errdefs.ExecError
	if errors.As(err, &step) {
		_ = step.Release() // the cache is deleted anyway
	}
}

// explain adds the limit to the error of a COPY, an ADD or a base image without space. full reports whether
// the disk was full. Only the databases of BuildKit are on the disk of the state.
func (s Solver) explain(err error) (full bool, explained error) {
	var exit *gatewaypb.ExitError
	if errors.As(err, &exit) {
		return exit.Err != nil && strings.HasPrefix(exit.Err.Error(), buildkit.DiskFull), err
	}
	if !strings.Contains(err.Error(), noSpace) {
		return false, err
	}
	if usage, readErr := disk.Read(s.State); readErr == nil && usage.Full() {
		return false, err
	}
	return true, fmt.Errorf("%w: %s", err, s.Disk.reason())
}

// isHalfFree reports whether half of the disk is free.
func (s Solver) isHalfFree(ctx context.Context) bool {
	if s.Watch != nil {
		return s.Watch.hasRoom(ctx)
	}
	return s.Disk.isHalfFree()
}

// deleteCache deletes all unused entries of the cache until half of the disk is free. BuildKit releases the
// files of a failed step only some time after its error. If other programs fill the disk of a watched directory,
// deleteCache returns the error at once: neither more time nor a restart of the builder would free space.
func (s Solver) deleteCache() (others error) {
	ctx, cancel := context.WithTimeout(context.Background(), pruneTimeout)
	defer cancel()
	ticker := time.NewTicker(prunePeriod)
	defer ticker.Stop()
	for {
		err := prune(ctx, s.Cache, client.PruneInfo{All: true})
		if err == nil && s.isHalfFree(ctx) {
			s.Log.Info("a build filled the disk of the builder; its cache is deleted")
			return nil
		}
		if err == nil && s.Watch != nil {
			if others := s.Watch.watch.FilledByOthers(ctx); others != nil {
				s.Log.WithError(others).Warn("the cache of the builder is deleted, and its disk stays full")
				return others
			}
		}
		runtime.GC() // BuildKit releases the files of some errors with a finalizer
		select {
		case <-ticker.C:
		case <-ctx.Done():
			s.Log.WithError(err).Warn("the disk of the builder stays full, because other builds use it")
			if s.Watch != nil {
				s.Restart() // BuildKit keeps the files of some canceled steps until then
			}
			return nil
		}
	}
}
