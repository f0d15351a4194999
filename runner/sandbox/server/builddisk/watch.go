package builddisk

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/executor"
	resourcestypes "github.com/moby/buildkit/executor/resources/types"
	gatewaypb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/sirupsen/logrus"

	"slipway/runner/buildkit"
	"slipway/runner/sandbox/disk"
)

// A Watch limits the cache of a builder without a disk of its own, because it is not root of the machine. While
// builds run, it watches the state directory. If that is too large, it kills all RUN steps, and cancels the builds
// that do not end soon, for example in a COPY. The methods for the start of a builder work with nil, which is no
// watch: CacheLimits, PruneToLimit and Wrap. It is safe for concurrent use.
type Watch struct {
	watch disk.Watch
	log   logrus.FieldLogger

	mu     sync.Mutex
	builds map[*watched]bool
	steps  map[*watched]bool  // their RUN steps
	stop   context.CancelFunc // ends the goroutine that watches; nil = none runs
	next   *client.PruneInfo  // prunes the cache before the next build; nil = it is small
}

// A watched is a running build or step.
type watched struct {
	cancel context.CancelFunc
	why    string // reason for which the watch canceled it; "" = none; guarded by Watch.mu
}

// NewWatch returns a Watch of a state directory. limit and reserve are disk.Watch's, in bytes. A limit of 0
// returns nil.
func NewWatch(state string, limit, reserve int64, log logrus.FieldLogger) *Watch {
	if limit == 0 {
		return nil
	}
	return &Watch{
		watch:  disk.Watch{Dir: state, Limit: limit, Reserve: reserve},
		log:    log,
		builds: map[*watched]bool{},
		steps:  map[*watched]bool{},
	}
}

// CacheLimits is like Disk.CacheLimits.
func (w *Watch) CacheLimits(limit, free int64) (newLimit, newFree int64) {
	if w == nil {
		return limit, free
	}
	return min(limit, w.watch.Limit-w.watch.Limit/cacheFree), max(free, 2*w.watch.Reserve)
}

// PruneToLimit deletes unused entries of a cache that is too large, for example after the limit was lowered. Call it
// before the first build.
func (w *Watch) PruneToLimit(ctx context.Context, cache Pruner) error {
	if w == nil {
		return nil
	}
	limit, _ := w.CacheLimits(math.MaxInt64, 0)
	return prune(ctx, cache, client.PruneInfo{All: true, MaxUsedSpace: limit})
}

// PruneAtStart deletes unused entries of the cache before a build, if the limit or the machine has little free
// space. It returns an error if the watch would cancel the build at once.
func (w *Watch) PruneAtStart(ctx context.Context, cache Pruner) error {
	w.mu.Lock()
	next := w.next
	w.next = nil
	w.mu.Unlock()
	if next != nil {
		if err := prune(ctx, cache, *next); err != nil {
			return err
		}
	}
	if w.watch.HasRoom() == nil {
		return nil
	}
	if err := prune(ctx, cache, client.PruneInfo{All: true}); err != nil {
		return err
	}
	return w.watch.HasRoom()
}

// measure measures the directory after the last build.
func (w *Watch) measure() {
	ctx, cancel := context.WithTimeout(context.Background(), pruneTimeout)
	defer cancel()
	limit := w.watch.Amount()
	limit.Bytes -= limit.Bytes / cacheFree
	limit.Files -= limit.Files / cacheFree
	amount, err := disk.Measure(ctx, w.watch.Dir, limit)
	if err != nil || amount.Within(limit) {
		return // after an error, the next build measures it, too
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = &client.PruneInfo{All: true}
	if amount.Files <= limit.Files { // a prune does not count files
		w.next.MaxUsedSpace = w.watch.Limit / 2
	}
}

// begin watches a build. The returned context ends when the directory is too large. The caller calls end after
// the build, which returns the reason; "" = the watch did not cancel it.
func (w *Watch) begin(ctx context.Context) (_ context.Context, end func() string) {
	ctx, cancel := context.WithCancel(ctx)
	build := &watched{cancel: cancel}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.builds[build] = true
	if w.stop == nil {
		var life context.Context
		life, w.stop = context.WithCancel(context.Background())
		go w.follow(life)
	}
	return ctx, func() string {
		cancel()
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.builds, build)
		if len(w.builds) == 0 {
			w.stop()
			w.stop = nil
			go w.measure() // for the next build
		}
		return build.why
	}
}

// Wrap returns an executor whose steps are killed if the directory is too large.
func (w *Watch) Wrap(next executor.Executor) executor.Executor {
	if w == nil {
		return next
	}
	return watchedExecutor{next, w}
}

type watchedExecutor struct {
	executor.Executor
	watch *Watch
}

var _ executor.Executor = watchedExecutor{}

// exitKilled is the exit code of a step that was ended by SIGKILL.
const exitKilled = 128 + 9

// Run implements executor.Executor. A killed step ends like one that failed. If the build were canceled instead,
// BuildKit would keep the files of the step until the builder ends.
func (e watchedExecutor) Run(ctx context.Context, id string, root executor.Mount, mounts []executor.Mount,
	process executor.ProcessInfo, started chan<- struct{}) (resourcestypes.Recorder, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	step := &watched{cancel: cancel}
	e.watch.mu.Lock()
	e.watch.steps[step] = true
	e.watch.mu.Unlock()
	recorder, err := e.Executor.Run(ctx, id, root, mounts, process, started)
	e.watch.mu.Lock()
	delete(e.watch.steps, step)
	why := step.why
	e.watch.mu.Unlock()
	if err != nil && why != "" {
		err = &gatewaypb.ExitError{ExitCode: exitKilled, Err: errors.New(why)}
	}
	return recorder, err
}

// follow cancels the running builds whenever the directory is too large, until ctx ends.
func (w *Watch) follow(ctx context.Context) {
	for {
		err := w.watch.Run(ctx)
		if ctx.Err() != nil {
			return
		}
		w.log.WithError(err).Warn("running builds are stopped: they exceed the limit of the disk")
		var over *disk.OverError
		why := buildkit.DiskFull + ": it cannot be read: " + disk.KeptSetting
		if errors.As(err, &over) {
			why = over.Reason(buildkit.DiskFull, disk.KeptSetting)
		}
		for _, stop := range []func(why string) bool{w.killSteps, w.cancelBuilds} {
			if !stop(why) {
				continue
			}
			select {
			case <-time.After(stopPause):
			case <-ctx.Done():
				return
			}
		}
	}
}

// stopPause is the time that killed steps and canceled builds get to end.
const stopPause = 300 * time.Millisecond

// killSteps kills the running steps. It returns false if there are none.
func (w *Watch) killSteps(why string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	cancelAll(w.steps, why)
	return len(w.steps) > 0
}

// cancelBuilds cancels the running builds. It returns false if there are none.
func (w *Watch) cancelBuilds(why string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	cancelAll(w.builds, why)
	return len(w.builds) > 0
}

// cancelAll cancels builds or steps. The caller holds Watch.mu.
func cancelAll(all map[*watched]bool, why string) {
	for one := range all {
		if one.why == "" {
			one.why = why
		}
		one.cancel()
	}
}

// explain returns the error of a build with the reason, if the disk is the cause. why is the result of end.
func (w *Watch) explain(why string, err error) (full bool, explained error) {
	var exit *gatewaypb.ExitError
	switch {
	case errors.As(err, &exit) && exit.Err != nil && strings.HasPrefix(exit.Err.Error(), buildkit.DiskFull):
		return true, err
	case why != "":
		return true, fmt.Errorf("the build was canceled: %s", why)
	case exit == nil && strings.Contains(err.Error(), noSpace): // the build was faster than the watch
		return true, fmt.Errorf("%w: %s: the machine has no free space: %s", err, buildkit.DiskFull, disk.KeptSetting)
	}
	return false, err
}

// hasRoom reports whether half of the limit and the reserve are free.
func (w *Watch) hasRoom(ctx context.Context) bool {
	half := disk.Amount{Bytes: w.watch.Limit / 2, Files: w.watch.Amount().Files / 2}
	amount, err := disk.Measure(ctx, w.watch.Dir, half)
	return err == nil && amount.Within(half) && w.watch.HasRoom() == nil
}
