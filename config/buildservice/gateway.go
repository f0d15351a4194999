package buildservice

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// A Client is the gateway's side of the service. It is safe for concurrent use.
type Client struct {
	Socket string // path of the service's socket
}

// ErrRefused is the error if the service does not start a Run.
var ErrRefused = errors.New("the builder service refused")

// An Attempt is a runner that the service has started.
type Attempt struct {
	conn     Conn
	ended    chan struct{} // closed after the fields below are set
	end      Ended
	detached bool
}

// Start starts the runner of an attempt. If the service refuses to start it, the error wraps ErrRefused.
// If ctx ends first, the error is its cause. The runner ends with the returned Attempt.
func (c Client) Start(ctx context.Context, run Run) (*Attempt, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := c.ask(ctx, conn, Request{Run: &run})
	switch {
	case err != nil:
	case reply.Refused != "":
		err = fmt.Errorf("%w: %s", ErrRefused, reply.Refused)
	case reply.Started == nil:
		err = c.unexpectedMessage()
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return newAttempt(conn), nil
}

// Adopt returns the attempt of a connection from Detach, and closes the file.
func Adopt(file *os.File) (*Attempt, error) {
	conn, err := FileConn(file)
	if err != nil {
		return nil, err
	}
	return newAttempt(conn), nil
}

func newAttempt(conn Conn) *Attempt {
	a := &Attempt{conn: conn, ended: make(chan struct{})}
	go a.awaitEnd()
	return a
}

// Level returns how the service isolates the code of repositories.
func (c Client) Level(ctx context.Context) (Level, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return Level{}, err
	}
	defer conn.Close()
	reply, err := c.ask(ctx, conn, Request{Check: &Empty{}})
	switch {
	case err != nil:
		return Level{}, err
	case reply.Refused != "":
		return Level{}, fmt.Errorf("%w: %s", ErrRefused, reply.Refused)
	case reply.Level == nil:
		return Level{}, c.unexpectedMessage()
	}
	return *reply.Level, nil
}

// CheckSpace returns why the disk of the builders has no space for the cache of a trust domain; "" = it has. The
// service starts the domain's builder, and may wait for the end of another one, at most until ctx ends.
func (c Client) CheckSpace(ctx context.Context, domain string) (problem string, err error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	reply, err := c.ask(ctx, conn, Request{Space: &Space{domain}})
	switch {
	case err != nil:
		return "", err
	case reply.Refused != "":
		return "", fmt.Errorf("%w: %s", ErrRefused, reply.Refused)
	case reply.Space == nil:
		return "", c.unexpectedMessage()
	}
	return reply.Space.Problem, nil
}

func (c Client) dial(ctx context.Context) (Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unixpacket", c.Socket)
	if err != nil {
		return Conn{}, fmt.Errorf("connect to the builder service: %w: check that it runs", err)
	}
	return Conn{conn.(*net.UnixConn)}, nil //nolint:forcetypeassert // of every Unix network
}

// ask sends a request and waits for one reply, at most until ctx ends.
func (c Client) ask(ctx context.Context, conn Conn, request Request) (reply Reply, err error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends Receive
	defer stop()
	if err := conn.Send(request, nil); err != nil {
		return Reply{}, err
	}
	if err := receiveWithoutFile(conn, &reply); err != nil {
		if ctx.Err() != nil {
			return Reply{}, context.Cause(ctx)
		}
		return Reply{}, fmt.Errorf("the builder service at %s does not answer: %w: check that it runs", c.Socket, err)
	}
	return reply, nil
}

// useOneRelease is the fix for messages that this release does not know.
const useOneRelease = "use a gateway and a builder service of one release"

func (c Client) unexpectedMessage() error {
	return fmt.Errorf("the builder service at %s sent an unexpected message: %s", c.Socket, useOneRelease)
}

// Stop asks the runner to end, as SIGTERM does. It does not wait.
func (a *Attempt) Stop() { _ = a.conn.Send(Request{Stop: &Empty{}}, nil) } // an error means that it has ended

// Kill ends the runner and everything that belongs to the attempt, and does not wait. Wait returns an
// error afterwards.
func (a *Attempt) Kill() { _ = a.conn.Close() }

// Wait waits for the end of the runner. It returns early after Detach.
func (a *Attempt) Wait() Ended {
	<-a.ended
	return a.end
}

// Detach returns the connection to the runner, for another process that adopts it. ok is false if the runner
// has ended; then there is no connection.
func (a *Attempt) Detach() (file *os.File, ok bool) {
	file, err := a.conn.socket.File() // a copy, which keeps the socket open
	if err != nil {
		return nil, false // it is closed already
	}
	a.conn.SetReadDeadline(time.Now())
	<-a.ended
	if !a.detached {
		_ = file.Close() // nothing was written
		return nil, false
	}
	return file, true
}

// Detached waits for the end of the runner or for Detach, and reports whether it was the latter.
func (a *Attempt) Detached() bool {
	<-a.ended
	return a.detached
}

func (a *Attempt) awaitEnd() {
	defer close(a.ended)
	defer a.conn.Close()
	var reply Reply
	switch err := receiveWithoutFile(a.conn, &reply); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		a.detached = true
	case err != nil:
		a.end = Ended{Error: fmt.Sprintf("the builder service ended: %v", err)}
	case reply.Ended == nil:
		a.end = Ended{Error: "the builder service sent an unexpected message: " + useOneRelease}
	default:
		a.end = *reply.Ended
	}
}

// receiveWithoutFile closes a file that comes with the message.
func receiveWithoutFile(conn Conn, message any) error {
	file, err := conn.Receive(message)
	if file != nil {
		return errors.Join(err, file.Close())
	}
	return err
}
