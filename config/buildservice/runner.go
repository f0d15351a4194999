package buildservice

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

// ControlVar is the environment variable with the descriptor of the runner's control socket.
const ControlVar = "SLIPWAY_RUNNER_CONTROL"

// A Control is the runner's side of the service: the socket that the runner inherited. It is safe for
// concurrent use.
type Control struct {
	mu   sync.Mutex // one request at a time
	last int        // id of the last request
	conn Conn
}

// OpenControl returns the control socket that the environment names, or nil if the service did not
// start this runner. Programs that this process executes do not inherit the descriptor.
func OpenControl(getenv func(string) string) (*Control, error) {
	text := getenv(ControlVar)
	if text == "" {
		return nil, nil
	}
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s=%q is not an inherited descriptor", ControlVar, text)
	}
	conn, err := FileConn(os.NewFile(uintptr(fd), "control"))
	if err != nil {
		return nil, err
	}
	return &Control{conn: conn}, nil
}

// An OffError reports that this machine cannot run sandboxes for build hooks. A retry does not help.
type OffError struct{ Why string }

// Error returns the reason.
func (e *OffError) Error() string { return e.Why }

// A NoSpaceError reports that the disk of the builders has no space for the cache of an attempt. A retry helps when it
// has some.
type NoSpaceError struct{ Why string }

// Error returns the reason, with the disk and the setting.
func (e *NoSpaceError) Error() string { return e.Why }

// Builder returns a new connection to the builder of the attempt's trust domain. The service starts the
// builder if necessary. If the disk has no space for its cache, the error is a *NoSpaceError.
func (c *Control) Builder(ctx context.Context) (net.Conn, error) {
	conn, err := request(ctx, c, RunnerRequest{Builder: &Empty{}}, net.FileConn)
	if err != nil {
		return nil, fmt.Errorf("connect to the builder: %w", err)
	}
	return conn, nil
}

// Sandbox returns the connection to process 1 of the sandbox for build hooks. The service makes the
// sandbox at the first call; a second call is an error.
func (c *Control) Sandbox(ctx context.Context, s Sandbox) (*net.UnixConn, error) {
	conn, err := request(ctx, c, RunnerRequest{Sandbox: &s}, net.FileConn)
	if err != nil {
		return nil, fmt.Errorf("open the sandbox for build hooks: %w", err)
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		err := fmt.Errorf("open the sandbox for build hooks: its socket is a %T, want a Unix socket", conn)
		return nil, errors.Join(err, conn.Close())
	}
	return socket, nil
}

// Limit returns the limit that the attempt met, with its setting; "" = none. It begins with DiskFull if the disk
// of the attempt is full, or was a moment ago. The other limits are those of the sandbox since its start.
func (c *Control) Limit(ctx context.Context) (string, error) {
	reply, file, err := c.exchange(ctx, RunnerRequest{Limit: &Empty{}})
	closeAll([]*os.File{file})
	if err != nil {
		return "", fmt.Errorf("read the limits of the attempt: %w", err)
	}
	return reply.Limit, nil
}

// Listener returns the listener of a site of the sandbox, an index in Sandbox.Sites. The caller serves it
// from its own network, and closes it. It returns an *OffError if the sandbox has no network.
func (c *Control) Listener(ctx context.Context, site int) (net.Listener, error) {
	listener, err := request(ctx, c, RunnerRequest{Listen: &Listen{site}}, net.FileListener)
	if err != nil {
		return nil, fmt.Errorf("listen inside the sandbox: %w", err)
	}
	return listener, nil
}

// request sends a request, and opens the file of its reply.
func request[T any](ctx context.Context, c *Control, r RunnerRequest, open func(*os.File) (T, error)) (T, error) {
	var none T
	_, file, err := c.exchange(ctx, r)
	if err != nil {
		return none, err
	}
	if file == nil {
		return none, errors.New("the builder service sent no connection")
	}
	defer file.Close()
	return open(file)
}

// exchange sends a request and returns its reply, with the file of the reply or nil.
func (c *Control) exchange(ctx context.Context, request RunnerRequest) (RunnerReply, *os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	request.ID = c.last
	if err := c.conn.Send(request, nil); err != nil {
		return RunnerReply{}, nil, err
	}
	return c.receive(ctx, request.ID)
}

// receive waits for the reply with an id, at most until ctx ends. It drops the replies to earlier
// requests, whose callers did not wait.
func (c *Control) receive(ctx context.Context, id int) (RunnerReply, *os.File, error) {
	c.conn.SetReadDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { c.conn.SetReadDeadline(time.Now()) })
	defer stop()
	for {
		var reply RunnerReply
		file, err := c.conn.Receive(&reply)
		switch {
		case err != nil && ctx.Err() != nil:
			return reply, nil, context.Cause(ctx)
		case errors.Is(err, os.ErrDeadlineExceeded): // the deadline is that of an earlier call, whose context ended
			c.conn.SetReadDeadline(time.Time{})
			if ctx.Err() != nil { // that may have removed the deadline of this call
				return reply, nil, context.Cause(ctx)
			}
		case err != nil:
			return reply, nil, err
		case reply.ID < id:
			closeAll([]*os.File{file})
		case reply.Off:
			closeAll([]*os.File{file})
			return reply, nil, &OffError{reply.Error}
		case reply.NoSpace:
			closeAll([]*os.File{file})
			return reply, nil, &NoSpaceError{reply.Error}
		case reply.Error != "":
			closeAll([]*os.File{file})
			return reply, nil, errors.New(reply.Error)
		default:
			return reply, file, nil
		}
	}
}
