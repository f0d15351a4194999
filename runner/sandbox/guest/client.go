package guest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// defaultGrace is the time between SIGTERM and SIGKILL.
	defaultGrace = 10 * time.Second
	// replyTimeout is the time that process 1 gets to report the end of a killed command. Then the client
	// gives up. The load of a machine can make it slow.
	replyTimeout = 10 * time.Second
)

// ErrEnded reports that the sandbox ended while a command ran, or before. The command or a limit may
// have killed process 1.
var ErrEnded = errors.New("the sandbox has ended")

// ErrProtocol reports that process 1 broke the protocol, or did not answer. The sandbox must not be used
// any more.
var ErrProtocol = errors.New("process 1 of the sandbox did not answer correctly")

// ErrDetached reports that another process has the socket.
var ErrDetached = errors.New("another process has the socket of the sandbox")

// A Command is a command to run. Args is required.
type Command struct {
	Dir  string   // working directory in the sandbox; empty = /
	Args []string // the program, and its arguments. A name without slash is searched in PATH of Env
	Env  []string // the complete environment, in the form NAME=value
	// Output receives standard output and standard error, in calls that do not overlap. nil = discard.
	// If a call returns an error, the rest is discarded, and the command goes on.
	Output io.Writer
	// Grace is the time between SIGTERM and SIGKILL after the end of the context. 0 = 10 s.
	Grace time.Duration
}

// request is the content of a frame "run".
type request struct {
	Dir  string   `json:"dir"`
	Args []string `json:"args"`
	Env  []string `json:"env"`
}

// A Client runs commands in a sandbox. It is safe for concurrent use; commands run one after another.
type Client struct {
	conn   net.Conn
	frames frameReader

	mu     sync.Mutex // held while a command runs
	broken error      // ErrEnded or ErrProtocol; no further command runs

	write sync.Mutex // frames of the canceling goroutine are complete
}

// NewClient returns a client for a socket, and takes the socket over. The caller closes the client. It is
// the socket of container.Container, or a copy of it in another process.
func NewClient(socket *os.File) (*Client, error) {
	defer socket.Close()
	conn, err := net.FileConn(socket)
	if err != nil {
		return nil, fmt.Errorf("connect to process 1 of the sandbox: %w", err)
	}
	return &Client{conn: conn, frames: frameReader{from: conn}}, nil
}

// Close closes the socket. Process 1 then ends, and the sandbox with it.
func (c *Client) Close() error { return c.conn.Close() }

// WaitReady waits for the greeting of process 1. It is called once, before the first command.
// container.Start does it.
func (c *Client) WaitReady(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetReadDeadline(time.Now()) })
	defer stop()
	t, _, err := c.frames.next()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return c.fail(err)
	case t != frameHello:
		return c.fail(fmt.Errorf("got frame %q before the greeting", byte(t)))
	}
	return nil
}

// Run runs a command, and returns its status when it and all its processes have ended. If the kernel
// cannot start it, the error is a *StartError.
//
// When ctx ends, all processes get SIGTERM, and SIGKILL after Grace. The error is then ctx's cause. If
// the sandbox does not react in time, the error is ErrProtocol. It is ErrEnded if the sandbox ended.
func (c *Client) Run(ctx context.Context, cmd Command) (Status, error) {
	if len(cmd.Args) == 0 {
		return Status{}, errors.New("run a command in the sandbox: it has no arguments")
	}
	content, err := json.Marshal(request{Dir: cmp.Or(cmd.Dir, "/"), Args: cmd.Args, Env: cmd.Env})
	if err != nil {
		return Status{}, fmt.Errorf("run %s in the sandbox: %w", cmd.Args[0], err)
	}
	if len(content) > maxRequest {
		return Status{}, fmt.Errorf("run %s in the sandbox: arguments and environment have more than %d bytes",
			cmd.Args[0], maxRequest)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return Status{}, c.broken
	}
	if ctx.Err() != nil {
		return Status{}, context.Cause(ctx)
	}
	if err := c.send(frameRun, content); err != nil {
		return Status{}, c.fail(err)
	}
	return c.follow(ctx, cmd)
}

// follow passes the output of a running command on, until the command ends.
func (c *Client) follow(ctx context.Context, cmd Command) (Status, error) {
	defer c.interruptAt(ctx, cmp.Or(cmd.Grace, defaultGrace))()
	output := cmp.Or(cmd.Output, io.Discard)
	for {
		t, content, err := c.frames.next()
		if err != nil {
			return Status{}, c.failed(ctx, err)
		}
		switch t {
		case frameOutput:
			if _, err := output.Write(content); err != nil {
				output = io.Discard
			}
		case frameEnd:
			e, err := decodeEnd(content)
			if err != nil {
				return Status{}, c.failed(ctx, err)
			}
			if ctx.Err() != nil {
				return Status{}, context.Cause(ctx)
			}
			return e.result(cmd.Args[0])
		default:
			return Status{}, c.failed(ctx, fmt.Errorf("got unexpected frame %q", byte(t)))
		}
	}
}

// interruptAt terminates the command when ctx ends, kills it after the grace time, and ends all reads
// after replyTimeout. The caller calls stop, which waits until none of these actions can happen any
// more.
func (c *Client) interruptAt(ctx context.Context, grace time.Duration) (stop func()) {
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		_ = c.conn.SetReadDeadline(time.Now().Add(grace + replyTimeout))
		_ = c.send(frameTerminate, nil) // a lost frame shows as a missing reply
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
			_ = c.send(frameKill, nil)
		}
	}()
	return func() {
		close(done)
		<-stopped
		_ = c.conn.SetReadDeadline(time.Time{})
	}
}

func (c *Client) send(t frameType, content []byte) error {
	c.write.Lock()
	defer c.write.Unlock()
	if err := c.conn.SetWriteDeadline(time.Now().Add(replyTimeout)); err != nil {
		return err
	}
	return writeFrame(c.conn, t, content)
}

// failed is like fail, and adds the cause if ctx has ended.
func (c *Client) failed(ctx context.Context, err error) error {
	err = c.fail(err)
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// fail marks the client as broken and returns the reason.
func (c *Client) fail(err error) error {
	c.broken = fmt.Errorf("%w: %w", ErrProtocol, err)
	if isClosed(err) {
		c.broken = ErrEnded
	}
	return c.broken
}

// Detach returns the socket for a client in another process. This client cannot be used any more. No
// command may be running.
func (c *Client) Detach() (*os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return nil, c.broken
	}
	c.broken = ErrDetached
	conn, ok := c.conn.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("detach the client of a sandbox: %T has no file", c.conn)
	}
	file, err := conn.File() // a copy
	if err != nil {
		return nil, fmt.Errorf("detach the client of a sandbox: %w", err)
	}
	return file, c.conn.Close()
}
