package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"slipway/config/buildservice"
	"slipway/config/safe"
	"slipway/config/text"
)

// serveRunner serves the control socket of a runner until the runner closes it or ctx ends, and then
// closes the sandbox. An invalid message ends it as well.
func (a *attempt) serveRunner(ctx context.Context) {
	var box Sandbox
	defer a.control.Close() // a runner that waits for a reply gets an error
	defer func() {
		if box == nil {
			return
		}
		if err := box.Close(); err != nil {
			a.log.WithError(err).Warn("cannot remove the sandbox")
		}
	}()
	for {
		var request buildservice.RunnerRequest
		file, err := a.control.Receive(&request)
		if file != nil {
			_ = file.Close() // a runner has no file to send
		}
		if err != nil {
			return
		}
		connection, err := a.answer(ctx, request, &box)
		reply := buildservice.RunnerReply{ID: request.ID}
		if request.Limit != nil {
			reply.Limit = a.limit(box)
		}
		if err != nil {
			reply.Error = text.Clip(err.Error(), maxError)
			reply.Off = errors.Is(err, ErrOff)
			reply.NoSpace = request.Builder != nil && errors.Is(err, syscall.ENOSPC)
		}
		err = a.control.Send(reply, connection)
		if connection != nil {
			err = errors.Join(err, connection.Close())
		}
		if err != nil {
			return
		}
	}
}

// limit returns the limit that the attempt met; "" = none. box may be nil.
func (a *attempt) limit(box Sandbox) string {
	why, now := a.space.limit()
	if box == nil || now && why != "" {
		return why
	}
	return cmp.Or(box.Limit(), why)
}

// answer returns the connection or listener that a runner requests.
func (a *attempt) answer(ctx context.Context, request buildservice.RunnerRequest, box *Sandbox) (*os.File, error) {
	switch {
	case request.Builder != nil:
		return a.connectBuilder(ctx)
	case request.Limit != nil:
		return nil, nil
	case request.Sandbox != nil && *box != nil:
		return nil, errors.New("the attempt has a sandbox already")
	case request.Sandbox != nil:
		return a.openSandbox(ctx, *request.Sandbox, box)
	case request.Listen != nil && *box == nil:
		return nil, errors.New("the attempt has no sandbox yet")
	case request.Listen != nil:
		return (*box).Listen(ctx, request.Listen.Site)
	}
	return nil, errors.New("the request is unknown: use a runner and a builder service of one release")
}

// connectBuilder connects to the builder of the attempt's trust domain.
func (a *attempt) connectBuilder(ctx context.Context) (*os.File, error) {
	if address := a.foreignBuilder(); address != "" {
		return nil, fmt.Errorf("the attempt uses the builder at %s", address)
	}
	conn, err := a.service.o.Builders.Dial(ctx, a.run.Domain)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("the connection to the builder is a %T: only Unix sockets are supported", conn)
	}
	return socket.File()
}

// prepareBuilder starts the builder of the attempt's trust domain, while the service makes the attempt's
// disk and the runner fetches the commit. The runner gets the error, if any, when it connects.
func (a *attempt) prepareBuilder(ctx context.Context) {
	if a.foreignBuilder() != "" {
		return
	}
	err := safe.Do(func() error {
		conn, err := a.service.o.Builders.Dial(ctx, a.run.Domain)
		if err != nil {
			return nil //nolint:nilerr // the runner gets it
		}
		return conn.Close()
	})
	if err != nil {
		a.log.WithError(err).Warn("cannot prepare the builder for the runner")
	}
}

// answerSpace starts the builder of a trust domain, and replies whether the disk has space for its cache. It returns
// any other error, which refuses the request.
func (s *Service) answerSpace(ctx context.Context, conn buildservice.Conn, request buildservice.Space) error {
	if err := request.Check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, spaceTimeout)
	defer cancel()
	go func() {
		defer cancel() // the gateway has closed the connection, or no longer needs the answer
		_, _ = receive(conn)
	}()
	var reply buildservice.SpaceReply
	if s.o.Builder == "" {
		builder, err := s.o.Builders.Dial(ctx, request.Domain)
		switch {
		case errors.Is(err, syscall.ENOSPC):
			reply.Problem = text.Clip(err.Error(), maxError)
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			reply.Problem = "the builder of the build's cache waits for space, until the builder of another one ends"
		case err != nil:
			return fmt.Errorf("start the builder to check the space of its disk: %w", err)
		default:
			_ = builder.Close() // nothing was sent
		}
	}
	_ = conn.Send(buildservice.Reply{Space: &reply}, nil) // the gateway may be gone
	return nil
}

// openSandbox makes the sandbox of the attempt.
func (a *attempt) openSandbox(ctx context.Context, request buildservice.Sandbox, box *Sandbox) (*os.File, error) {
	if !a.run.Hooks {
		return nil, fmt.Errorf("%w: the gateway does not allow them for this build", ErrOff)
	}
	sites, err := request.Plan()
	if err != nil {
		return nil, err
	}
	trust, err := trustFiles(request.Authority, sites)
	if err != nil {
		return nil, err
	}
	made, err := a.service.o.Sandboxes.Open(ctx, Place{
		Sites:     sites,
		Trust:     trust,
		Attempt:   a.run.Attempt,
		Workspace: a.workspace(),
		UID:       a.uid,
		Disk:      a.disk,
		GID:       a.service.o.GID,
	})
	if err != nil {
		return nil, err
	}
	*box = made
	return made.Socket(), nil
}
