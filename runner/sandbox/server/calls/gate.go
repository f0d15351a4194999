package calls

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// A gate is an inherited listener that can stop accepting without losing a connection. A connection that
// it has not accepted waits in the socket for the supervisor's next builder.
type gate struct {
	listener DeadlineListener
	accepted func() // is called for each connection before Accept returns

	paused  chan struct{} // receives a value when Accept has stopped because of pause
	resumed chan struct{} // ends the wait of Accept after pause
	close   sync.Once
	closed  chan struct{}
}

// A DeadlineListener is the part of a unix or TCP listener that a gate needs.
type DeadlineListener interface {
	net.Listener
	SetDeadline(t time.Time) error
}

var _ net.Listener = (*gate)(nil)

func newGate(listener DeadlineListener, accepted func()) *gate {
	return &gate{
		listener: listener,
		accepted: accepted,
		paused:   make(chan struct{}),
		resumed:  make(chan struct{}),
		closed:   make(chan struct{}),
	}
}

// Accept accepts a connection. Between pause and resume it waits.
func (g *gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.listener.Accept()
		if err == nil {
			g.accepted()
			return conn, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, err
		}
		select {
		case g.paused <- struct{}{}:
		case <-g.closed:
			return nil, net.ErrClosed
		}
		select {
		case <-g.resumed:
		case <-g.closed:
			return nil, net.ErrClosed
		}
	}
}

// pause stops accepting. When it returns, accepted was called for each accepted connection, and no
// further connection is accepted until resume. Calls of pause and resume must alternate.
func (g *gate) pause() {
	_ = g.listener.SetDeadline(time.Unix(1, 0)) // fails only if it is closed
	select {
	case <-g.paused:
	case <-g.closed:
	}
}

// resume accepts connections again after pause.
func (g *gate) resume() {
	_ = g.listener.SetDeadline(time.Time{})
	select {
	case g.resumed <- struct{}{}:
	case <-g.closed:
	}
}

// Close closes the listener in this process. The supervisor's descriptor stays open.
func (g *gate) Close() error {
	g.close.Do(func() { close(g.closed) })
	return g.listener.Close()
}

// Addr returns the address of the socket.
func (g *gate) Addr() net.Addr { return g.listener.Addr() }
