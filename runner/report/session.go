package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"slipway/config/secret"
	"slipway/runner/spec"
)

// flushEvery is the longest time that a line of the log waits for further ones.
const flushEvery = 250 * time.Millisecond

// A Session reports one claimed attempt: a heartbeat, the events and the log, in the
// background, until Close. It is safe for concurrent use.
type Session struct {
	client *Client
	end    context.CancelCauseFunc // ends the context that Begin returned
	spool  *spool
	log    *secret.Writer
	stop   chan struct{}
	wake   chan struct{} // holds a token if there is an event to send
	loops  sync.WaitGroup

	mu      sync.Mutex
	seq     int64
	pending []spec.Event
	acked   chan struct{} // closed and replaced at each acknowledgement
	sent    int64         // bytes of the log that the gateway has
}

// Begin starts reporting. The returned context ends with ctx, if the attempt is over (cause ErrOver),
// or if the build was canceled (cause *Cancelled). redactor masks the log. The log is spooled below
// dir, and also written to echo if that is not nil.
func (c *Client) Begin(
	ctx context.Context,
	dir string,
	redactor *secret.Redactor,
	echo io.Writer,
) (context.Context, *Session, error) {
	spool, err := newSpool(dir)
	if err != nil {
		return nil, nil, err
	}
	var to io.Writer = spool
	if echo != nil {
		to = io.MultiWriter(spool, echo)
	}
	ctx, end := context.WithCancelCause(ctx)
	s := &Session{
		client: c, end: end, spool: spool, log: redactor.NewWriter(to),
		stop: make(chan struct{}), wake: make(chan struct{}, 1), acked: make(chan struct{}),
	}
	background := context.WithoutCancel(ctx)
	s.loop(background, c.o.Heartbeat, s.wake, s.sendEvents)
	s.loop(background, flushEvery, s.spool.wake, s.sendLog)
	return ctx, s, nil
}

// Write appends to the build's log.
func (s *Session) Write(p []byte) (int, error) { return s.log.Write(p) }

// StageStarted reports that a stage began now.
func (s *Session) StageStarted(stage string) {
	s.add(spec.Event{Kind: spec.StageStarted, Stage: stage})
}

// StageFinished reports that a stage ended. detail is a short note, for example its result.
func (s *Session) StageFinished(stage, detail string) {
	s.add(spec.Event{Kind: spec.StageFinished, Stage: stage, Detail: detail})
}

// Built reports the digest, and returns when the gateway has stored it. Tags move only after that.
func (s *Session) Built(ctx context.Context, digest string) error {
	seq := s.add(spec.Event{Kind: spec.Built, Digest: digest})
	for {
		s.mu.Lock()
		done := len(s.pending) == 0 || s.pending[0].Seq > seq
		acked := s.acked
		s.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-acked:
		case <-ctx.Done():
			return fmt.Errorf("report the built digest: %w", context.Cause(ctx))
		}
	}
}

// Close stops the background work, sends the remaining events and log until ctx ends, and ends the
// context of Begin.
func (s *Session) Close(ctx context.Context) error {
	close(s.stop)
	s.loops.Wait()
	defer s.end(nil)
	defer s.spool.Close()
	if err := s.log.Close(); err != nil {
		return err
	}
	return s.drain(ctx)
}

func (s *Session) add(e spec.Event) int64 {
	s.mu.Lock()
	s.seq++
	e.Seq, e.At = s.seq, s.client.o.Now()
	s.pending = append(s.pending, e)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return e.Seq
}

// loop calls send at every tick and wake until Close. After an error the next call tries again.
func (s *Session) loop(
	ctx context.Context,
	every time.Duration,
	wake <-chan struct{},
	send func(context.Context) (bool, error),
) {
	s.loops.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				s.end(fmt.Errorf("panic while reporting: %v\n%s", p, debug.Stack()))
			}
		}()
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			more, err := send(ctx)
			if errors.Is(err, ErrOver) || errors.Is(err, ErrUnauthorized) || isInvalid(err) {
				s.end(err)
				return
			}
			if more && err == nil && !s.stopped() {
				continue
			}
			if !s.pause(tick.C, wake, err) {
				return
			}
		}
	})
}

// pause waits for the next tick or wake. After an error it waits for the time that the gateway requests.
// It returns false if the session is closed.
func (s *Session) pause(tick <-chan time.Time, wake <-chan struct{}, err error) bool {
	if err != nil {
		wake = nil // the gateway does not answer: only the tick starts the next try
	}
	if wait := retryAfter(err); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		tick = timer.C
	}
	select {
	case <-s.stop:
		return false
	case <-tick:
	case <-wake:
	}
	return true
}

func (s *Session) stopped() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// sendEvents sends the oldest unacknowledged events. A request without events is the heartbeat. more
// reports that others are left.
func (s *Session) sendEvents(ctx context.Context) (more bool, err error) {
	s.mu.Lock()
	n := min(len(s.pending), spec.MaxEvents)
	body, err := json.Marshal(spec.EventsRequest{Events: s.pending[:n:n]})
	s.mu.Unlock()
	if err != nil {
		return false, err
	}
	var reply spec.EventsReply
	if err := s.client.post(ctx, "events", body, decode(&reply)); err != nil {
		return false, err
	}
	more = s.acknowledge(reply.Seq) && n == spec.MaxEvents
	if reply.Cancel {
		s.end(&Cancelled{Reason: reply.Reason})
	}
	return more, nil
}

// acknowledge drops the events up to seq, and reports whether there were some and others are left.
func (s *Session) acknowledge(seq int64) (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.pending)
	for len(s.pending) > 0 && s.pending[0].Seq <= seq {
		s.pending = s.pending[1:]
	}
	close(s.acked)
	s.acked = make(chan struct{})
	return len(s.pending) > 0 && len(s.pending) < before
}

// sendLog sends one chunk of the log. more reports that others are left. Only one call runs at a time.
func (s *Session) sendLog(ctx context.Context) (more bool, err error) {
	b, err := s.spool.chunk(s.sent, spec.MaxLogChunk)
	if err != nil || len(b) == 0 {
		return false, err
	}
	var reply spec.LogReply
	err = s.client.post(ctx, logPath(s.sent), b, decode(&reply))
	elsewhere := errors.Is(err, errGap)
	if err != nil && !elsewhere {
		return false, err
	}
	moved := reply.Size > s.sent || (elsewhere && reply.Size != s.sent)
	if reply.Size < 0 || reply.Size > s.spool.length() || !moved {
		return false, fmt.Errorf(
			"the gateway reports %d bytes of the log after %d were sent",
			reply.Size,
			s.sent+int64(len(b)),
		)
	}
	s.sent = reply.Size
	return true, nil
}

// drain sends the remaining events and then the remaining log. It retries until ctx ends.
func (s *Session) drain(ctx context.Context) error {
	pause := s.client.o.Backoff()
	for _, send := range []func(context.Context) (bool, error){s.sendEvents, s.sendLog} {
		for more := true; more; {
			var err error
			if more, err = send(ctx); err == nil {
				pause.Reset()
				continue
			}
			if isPermanent(err) {
				return wrap("send the rest of the log", err)
			}
			more = true
			select {
			case <-ctx.Done():
				return fmt.Errorf("send the rest of the log: %w (%w)", err, context.Cause(ctx))
			case <-time.After(max(pause.NextBackOff(), retryAfter(err))):
			}
		}
	}
	return nil
}
