package server

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/moby/buildkit/executor"
	resourcestypes "github.com/moby/buildkit/executor/resources/types"
	gatewaypb "github.com/moby/buildkit/frontend/gateway/pb"
	"go.opentelemetry.io/otel/trace"

	"slipway/runner/sandbox/cgroup"
)

// limitedExecutor runs each step in a group with limits, and ignores the group in a client's request. If
// a step fails after it met a limit, its error names the limit and the setting.
type limitedExecutor struct {
	executor.Executor
	limits *limits
}

var _ executor.Executor = limitedExecutor{}

// Run implements executor.Executor.
func (l limitedExecutor) Run(ctx context.Context, id string, root executor.Mount, mounts []executor.Mount,
	process executor.ProcessInfo, started chan<- struct{}) (resourcestypes.Recorder, error) {
	slot, err := l.limits.take()
	if err != nil {
		return nil, fmt.Errorf("limit the step: %w", err)
	}
	defer l.limits.put(slot)
	process.Meta.CgroupParent = slot.Path()
	before := slot.Counters()
	exit := &exitCounters{group: slot}
	ctx = trace.ContextWithSpan(ctx, exitSpan{Span: trace.SpanFromContext(ctx), onExit: exit.read})
	recorder, err := l.Executor.Run(ctx, id, root, mounts, process, started)
	if err != nil && ctx.Err() == nil {
		explainLimit(err, exit.last().Since(before).Reason(l.limits.build))
	}
	return recorder, err
}

// explainLimit sets the text of an error to the reason why a command failed. It keeps the exit code.
func explainLimit(err error, reason string) {
	var exit *gatewaypb.ExitError
	if reason != "" && errors.As(err, &exit) {
		exit.Err = errors.New(reason)
	}
}

// exitCounters holds the counters of a group at the end of its container. It is safe for concurrent
// use.
type exitCounters struct {
	group cgroup.Group

	mu       sync.Mutex
	counters cgroup.Counters
}

func (e *exitCounters) read() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.counters = e.group.Counters()
}

func (e *exitCounters) last() cgroup.Counters {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.counters
}

// exitEvent is the event that BuildKit's executor adds to its span after a container has ended and
// before runc deletes it. Cgroups of version 1 lose their counters with the container, and the executor
// has no other call in between.
const exitEvent = "Container exited"

// exitSpan is a span that calls onExit at the end of a container.
type exitSpan struct {
	trace.Span
	onExit func()
}

// AddEvent implements trace.Span.
func (s exitSpan) AddEvent(name string, options ...trace.EventOption) {
	if name == exitEvent {
		s.onExit()
	}
	s.Span.AddEvent(name, options...)
}
