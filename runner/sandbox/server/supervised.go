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
	"slipway/runner/sandbox/layers"
	"slipway/runner/sandbox/server/calls"
)

// sizeDelay is the time from the end of the last call until the server measures its cache.
const sizeDelay = time.Second

// A follower connects the server to its supervisor. It reports the load, the size of the cache, and
// images. It obeys requests to stop and to change the number of steps. Without a supervisor it does
// nothing.
type follower struct {
	reporter *link.Reporter
	measure  chan struct{} // holds a token if the size of the cache may have changed
}

func newFollower() *follower {
	return &follower{reporter: link.NewReporter(), measure: make(chan struct{}, 1)}
}

// images returns a recorder of the images that the server uses. It reports an image if the supervisor's
// pool lacks one of its layers.
func (f *follower) images() *layers.Images { return &layers.Images{Report: f.reporter.Image} }

// reportLoad reports whether a client is using the server.
func (f *follower) reportLoad(busy bool) {
	f.reporter.Busy(busy)
	if busy {
		return
	}
	select {
	case f.measure <- struct{}{}:
	default:
	}
}

// follow connects to the supervisor until ctx ends.
func (f *follower) follow(
	ctx context.Context, c Config, counter *calls.Counter, slots *slots, engine *control.Controller,
) error {
	file := c.Environment.Inherited.Link
	if file == nil {
		return nil
	}
	conn, err := net.FileConn(file)
	_ = file.Close() // FileConn has duplicated it
	if err != nil {
		return fmt.Errorf("connect to the supervisor: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	requests := link.Requests{
		Parallel: slots.limit,
		Stop: func() {
			if !counter.StopIfQuiet(0) {
				f.reporter.Refused()
			}
		},
	}
	go f.reporter.Run(ctx.Done(), conn)
	go requests.Receive(conn)
	go f.reportSizes(ctx, engine)
	return nil
}

// reportSizes reports the size of the cache after the server has become idle.
func (f *follower) reportSizes(ctx context.Context, engine *control.Controller) {
	for {
		select {
		case <-f.measure:
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
		f.reporter.Size(sum)
	}
}

// listenInherited returns the listener that a supervisor has given to this process.
func (c Config) listenInherited(counter *calls.Counter) (net.Listener, error) {
	file := c.Environment.Inherited.Listener
	listener, err := net.FileListener(file)
	_ = file.Close() // FileListener has duplicated it
	if err != nil {
		return nil, fmt.Errorf("inherit the listener: %w", err)
	}
	withDeadline, ok := listener.(calls.DeadlineListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("inherit the listener: %T has no deadline", listener), listener.Close())
	}
	return counter.Guard(withDeadline), nil
}
