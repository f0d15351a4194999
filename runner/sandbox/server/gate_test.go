package server

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"
)

func listenGate(t *testing.T) (c *calls, stopped chan struct{}, dial func() net.Conn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stopped = make(chan struct{}, 8)
	c = newCalls(0, func() { stopped <- struct{}{} })
	c.gate = newGate(listener, c.accept)
	t.Cleanup(func() { _ = c.gate.Close() })
	return c, stopped, func() net.Conn {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
}

func TestAPausedGateKeepsConnectionsInTheSocket(t *testing.T) {
	c, _, dial := listenGate(t)
	accepted := make(chan net.Conn, 8)
	ended := make(chan error, 1)
	go func() {
		for {
			conn, err := c.gate.Accept()
			if err != nil {
				ended <- err
				return
			}
			accepted <- conn
		}
	}()
	dial()
	<-accepted
	c.gate.pause()
	dial()
	select {
	case <-accepted:
		t.Fatal("got a connection while the gate was paused, want none")
	case <-time.After(50 * time.Millisecond):
	}
	c.gate.resume()
	<-accepted
	c.gate.pause()
	if err := c.gate.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("Accept after Close: got no error, want one")
	}
	c.gate.pause() // does not block after Close
	c.gate.resume()
}

// A client needs some time from its connection to its first call.
func TestAServerWithANewConnectionDoesNotStop(t *testing.T) {
	c, stopped, dial := listenGate(t)
	accepted := make(chan net.Conn)
	go func() {
		for {
			conn, err := c.gate.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	dial()
	<-accepted
	if c.stopIfQuiet(0) {
		t.Error("with a new connection: got a stop, want none")
	}
	c.mu.Lock()
	c.accepted = c.accepted.Add(-firstCallTime)
	c.mu.Unlock()
	end := c.begin("/x/Status")
	if c.stopIfQuiet(0) {
		t.Error("during a call: got a stop, want none")
	}
	end()
	if c.stopIfQuiet(time.Minute) {
		t.Error("after a call: got a stop, want none for a minute")
	}
	if !c.stopIfQuiet(0) {
		t.Error("without a call: got no stop, want one")
	}
	<-stopped
}

func TestLoadIsReportedOnceForOverlappingCalls(t *testing.T) {
	var got []bool
	c := newCalls(0, func() {})
	c.onBusy = func(busy bool) { got = append(got, busy) }
	first := c.begin("/x/a")
	second := c.begin("/x/b")
	first()
	second()
	if len(got) != 2 || !got[0] || got[1] {
		t.Errorf("got %v, want true and then false", got)
	}
}

func TestSlotsFollowTheLimit(t *testing.T) {
	s := newSlots(4)
	running := 0
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	fill := func() int {
		t.Helper()
		for s.sem.TryAcquire(1) {
			running++
		}
		return running
	}
	if got := fill(); got != 4 {
		t.Errorf("without a limit: got %d steps, want 4", got)
	}
	s.limit(1)
	// The limit takes effect as the steps end.
	for ; running > 1; running-- {
		s.sem.Release(1)
	}
	<-s.done
	if got := fill(); got != 1 {
		t.Errorf("with limit 1: got %d steps, want 1", got)
	}
	s.limit(0) // at least one step always runs
	s.limit(3)
	<-s.done
	if got := fill(); got != 3 {
		t.Errorf("with limit 3: got %d steps, want 3", got)
	}
	s.limit(1)
	s.limit(100) // replaces a limit that has not taken effect
	<-s.done
	if err := s.sem.Acquire(ctx, 1); err != nil {
		t.Errorf("with limit 100: got %v for a fourth step, want none", err)
	}
}
