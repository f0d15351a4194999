package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/control"

	"slipway/runner/sandbox/domains/link"
)

// sizeDelay is the time from the end of the last call until the server measures its cache.
const sizeDelay = time.Second

// listenInherited returns the listener that a supervisor has given to this process.
func (c Config) listenInherited(calls *calls) (net.Listener, error) {
	file := c.Environment.Inherited.Listener
	listener, err := net.FileListener(file)
	_ = file.Close() // FileListener has duplicated it
	if err != nil {
		return nil, fmt.Errorf("inherit the listener: %w", err)
	}
	withDeadline, ok := listener.(deadlineListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("inherit the listener: %T has no deadline", listener), listener.Close())
	}
	calls.gate = newGate(withDeadline, calls.accept)
	return calls.gate, nil
}

// followSupervisor connects to the supervisor: it reports the load and the size of the cache, and obeys
// requests to stop and to run fewer steps, until ctx ends.
func (c Config) followSupervisor(ctx context.Context, calls *calls, slots *slots, engine *control.Controller) error {
	file := c.Environment.Inherited.Link
	conn, err := net.FileConn(file)
	_ = file.Close() // FileConn has duplicated it
	if err != nil {
		return fmt.Errorf("connect to the supervisor: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	reporter := link.NewReporter()
	measure := make(chan struct{}, 1)
	calls.onBusy = func(busy bool) {
		reporter.Busy(busy)
		if !busy {
			select {
			case measure <- struct{}{}:
			default:
			}
		}
	}
	requests := link.Requests{
		Parallel: slots.limit,
		Stop: func() {
			if !calls.stopIfQuiet(0) {
				reporter.Refused()
			}
		},
	}
	go reporter.Run(ctx.Done(), conn)
	go requests.Receive(conn)
	go reportSizes(ctx, measure, reporter, engine)
	return nil
}

// reportSizes reports the size of the cache after the server has become idle.
func reportSizes(
	ctx context.Context, measure <-chan struct{}, reporter *link.Reporter, engine *control.Controller,
) {
	for {
		select {
		case <-measure:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(sizeDelay):
		case <-ctx.Done():
			return
		}
		usage, err := engine.DiskUsage(ctx, &controlapi.DiskUsageRequest{})
		if err != nil {
			continue // the next measurement may succeed
		}
		var sum int64
		for _, record := range usage.Record {
			sum += record.Size
		}
		reporter.Size(sum)
	}
}
