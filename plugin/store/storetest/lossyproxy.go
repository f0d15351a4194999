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

// A Loss is what a lossy connection does with a commit. In the cases Unanswered and Unsent the
// client sees the same: the connection breaks.
type Loss int

// The fates of a commit.
const (
	None       Loss = iota
	Unanswered      // the server commits
	Unsent          // the server does not commit
)

// socketName is the socket of PostgreSQL's default port.
const socketName = ".s.PGSQL.5432"

// Losing starts a proxy in front of the PostgreSQL server at an address until the end of the
// test, and returns the address of the proxy. It calls fate for each COMMIT, and for each
// statement that is a transaction of its own (implied). fate may be called concurrently.
func Losing(t testing.TB, address secret.Secret, fate func(implied bool) Loss) secret.Secret {
	t.Helper()
	return proxied(t, address, hooks{fate: fate})
}

// Cutting starts a proxy in front of the PostgreSQL server at an address until the end of the test, and
// returns the address of the proxy. It calls cut before each statement, and breaks the connection if the
// result is true. The server then does what it does if the client was killed. cut may be called
// concurrently.
func Cutting(t testing.TB, address secret.Secret, cut func(statement string) bool) secret.Secret {
	t.Helper()
	return proxied(t, address, hooks{cut: cut, fate: func(bool) Loss { return None }})
}

// hooks decide about the messages of a connection.
type hooks struct {
	fate func(implied bool) Loss
	cut  func(statement string) bool // nil = none is cut
}

func proxied(t testing.TB, address secret.Secret, h hooks) secret.Secret {
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
			running.Go(func() { relay(ctx, client, socket, h) })
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

// relay copies one connection until either end is closed, ctx ends, or the connection is lost.
func relay(ctx context.Context, client net.Conn, socket string, h hooks) {
	defer client.Close()
	server, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return // without the server there is no connection
	}
	defer server.Close()
	defer context.AfterFunc(ctx, func() {
		_ = client.Close()
		_ = server.Close()
	})()
	r := &relayed{hooks: h, front: pgproto3.NewFrontend(server, server), back: pgproto3.NewBackend(client, client)}
	start, err := r.back.ReceiveStartupMessage()
	if _, ok := start.(*pgproto3.StartupMessage); err != nil || !ok {
		return // the client closed the connection, or cancels a statement
	}
	r.front.Send(start)
	if r.front.Flush() != nil {
		return
	}
	var responses sync.WaitGroup
	responses.Go(func() {
		_ = r.answers() // they end with the connection
		_ = client.Close()
	})
	if errors.Is(r.requests(), errUnanswered) {
		responses.Wait() // until the server has executed it
	}
	_ = server.Close()
	responses.Wait()
}

// A relayed connection belongs to a client that waits for each reply, as database/sql does.
type relayed struct {
	hooks
	front    *pgproto3.Frontend // to the server
	back     *pgproto3.Backend  // to the client
	within   atomic.Bool        // in a transaction
	lost     atomic.Bool        // the reply to the last request is lost
	executed bool               // since the last requested reply; used only by requests
}

var errUnanswered = errors.New("the response to a commit is lost")

// requests copies the client's messages.
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

// judge calls cut if the message is a statement, and fate if it commits.
func (r *relayed) judge(m pgproto3.FrontendMessage) Loss {
	if r.cut != nil && r.cuts(m) {
		return Unsent
	}
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

func (r *relayed) cuts(m pgproto3.FrontendMessage) bool {
	switch m := m.(type) {
	case *pgproto3.Parse:
		return r.cut(m.Query)
	case *pgproto3.Query:
		return r.cut(m.String)
	}
	return false
}

// answers copies the server's messages. If a reply is to be lost, it returns when the server has
// executed the request.
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
