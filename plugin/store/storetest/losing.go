package storetest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"slipway/config/secret"
)

// A Loss is what becomes of a commit on its way. Whoever commits is told the same by the last
// two: the connection is gone.
type Loss int

// The fates of a commit.
const (
	None       Loss = iota
	Unanswered      // it happens
	Unsent          // it does not happen
)

// socketName is PostgreSQL's, of its default port.
const socketName = ".s.PGSQL.5432"

// Losing stands before the PostgreSQL server at an address until the test's end, and returns
// its own. fate is asked about each COMMIT, and about each statement that is a transaction of its
// own (implied); it may be called concurrently.
func Losing(t testing.TB, address secret.Secret, fate func(implied bool) Loss) secret.Secret {
	t.Helper()
	u, err := url.Parse(address.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	socket := filepath.Join(q.Get("host"), socketName)
	dir, err := os.MkdirTemp("", "slipway-") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, socketName))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // closed
			}
			running.Go(func() { relay(ctx, client, socket, fate) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		stop()
		running.Wait()
		_ = os.RemoveAll(dir)
	})
	q.Set("host", dir)
	u.RawQuery = q.Encode()
	return secret.New(u.String())
}

// relay passes one connection on until an end of it is closed, ctx ends, or it is lost.
func relay(ctx context.Context, client net.Conn, socket string, fate func(bool) Loss) {
	defer client.Close()
	server, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return // the server is away: so is the connection
	}
	defer server.Close()
	defer context.AfterFunc(ctx, func() {
		_ = client.Close()
		_ = server.Close()
	})()
	r := &relayed{fate: fate, front: pgproto3.NewFrontend(server, server), back: pgproto3.NewBackend(client, client)}
	start, err := r.back.ReceiveStartupMessage()
	if _, ok := start.(*pgproto3.StartupMessage); err != nil || !ok {
		return // somebody hung up, or cancels a statement, which ends by itself
	}
	r.front.Send(start)
	if r.front.Flush() != nil {
		return
	}
	var answers sync.WaitGroup
	answers.Go(func() {
		_ = r.answers() // they end with the connection
		_ = client.Close()
	})
	if errors.Is(r.requests(), errUnanswered) {
		answers.Wait() // the server has done it
	}
	_ = server.Close()
	answers.Wait()
}

// A relayed connection of a client that waits for each answer, as database/sql does.
type relayed struct {
	fate     func(implied bool) Loss
	front    *pgproto3.Frontend // to the server
	back     *pgproto3.Backend  // to the client
	within   atomic.Bool        // a transaction
	lost     atomic.Bool        // the answer to what was sent last
	executed bool               // since the last answer was asked for; of requests alone
}

var errUnanswered = errors.New("the answer to a commit is lost")

// requests passes on what the client sends.
func (r *relayed) requests() error {
	for {
		m, err := r.back.Receive()
		if err != nil {
			return err
		}
		loss := r.judge(m)
		if loss == Unsent {
			return io.EOF
		}
		r.lost.Store(loss == Unanswered)
		r.front.Send(m)
		switch m.(type) {
		case *pgproto3.Query, *pgproto3.Sync, *pgproto3.Flush, *pgproto3.Terminate, *pgproto3.PasswordMessage:
			if err := r.front.Flush(); err != nil {
				return err
			}
		}
		if loss == Unanswered {
			return errUnanswered
		}
	}
}

// judge asks for the fate of what commits.
func (r *relayed) judge(m pgproto3.FrontendMessage) Loss {
	switch m := m.(type) {
	case *pgproto3.Execute:
		r.executed = true
	case *pgproto3.Query:
		if m.String == "commit" {
			return r.fate(false)
		}
	case *pgproto3.Sync:
		implied := r.executed && !r.within.Load()
		r.executed = false
		if implied {
			return r.fate(true)
		}
	}
	return None
}

// answers passes on what the server sends, but what is lost, upon which it returns when the
// server has done what it was asked for.
func (r *relayed) answers() error {
	for {
		m, err := r.front.Receive()
		if err != nil {
			return err
		}
		ready, isReady := m.(*pgproto3.ReadyForQuery)
		if r.lost.Load() {
			if isReady {
				return errUnanswered
			}
			continue
		}
		if isReady {
			r.within.Store(ready.TxStatus != 'I')
		}
		r.back.Send(m)
		if isReady || r.front.ReadBufferLen() == 0 {
			if err := r.back.Flush(); err != nil {
				return err
			}
		}
	}
}
