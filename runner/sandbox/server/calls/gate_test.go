package calls

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
)

func listenGate(t *testing.T) (c *Counter, stopped chan struct{}, dial func() net.Conn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stopped = make(chan struct{}, 8)
	c = New(Options{OnIdle: func() { stopped <- struct{}{} }})
	c.Guard(listener)
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
	if c.StopIfQuiet(0) {
		t.Error("with a new connection: got a stop, want none")
	}
	c.mu.Lock()
	c.accepted = c.accepted.Add(-firstCallTime)
	c.mu.Unlock()
	end := c.Begin("/x/Status")
	if c.StopIfQuiet(0) {
		t.Error("during a call: got a stop, want none")
	}
	end()
	if c.StopIfQuiet(time.Minute) {
		t.Error("after a call: got a stop, want none for a minute")
	}
	if !c.StopIfQuiet(0) {
		t.Error("without a call: got no stop, want one")
	}
	<-stopped
}

func TestLoadIsReportedOnceForOverlappingCalls(t *testing.T) {
	var got []bool
	c := New(Options{OnBusy: func(busy bool) { got = append(got, busy) }})
	first := c.Begin("/x/a")
	second := c.Begin("/x/b")
	first()
	second()
	if len(got) != 2 || !got[0] || got[1] {
		t.Errorf("got %v, want true and then false", got)
	}
}

func TestIdleCounting(t *testing.T) {
	idle := make(chan struct{}, 8)
	c := New(Options{Idle: 20 * time.Millisecond, OnIdle: func() { idle <- struct{}{} }})
	end := c.Begin("/moby.buildkit.v1.Control/Solve")
	second := c.Begin("/x/Status")
	done := make(chan struct{})
	go func() { c.WaitSolves(time.Minute); close(done) }()
	end()
	<-done
	select {
	case <-idle:
		t.Error("idle during a call: got true, want false")
	case <-time.After(60 * time.Millisecond):
	}
	second()
	<-idle
	defer c.Begin("/moby.buildkit.v1.Control/Solve")()
	began := time.Now()
	c.WaitSolves(30 * time.Millisecond)
	if time.Since(began) < 30*time.Millisecond {
		t.Error("waitSolves: got its return before the end of the call, want it after")
	}
	_, _ = c.Unary(
		t.Context(),
		nil,
		&grpc.UnaryServerInfo{FullMethod: "/x/y"},
		func(context.Context, any) (any, error) { return nil, nil },
	)
}
