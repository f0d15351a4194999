// Package attemptserver serves HTTPS to the programs of one attempt, on listeners inside their
// network namespace. It ends with the attempt, running requests included.
package attemptserver

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/net/netutil"
)

// ErrEnded is the cause of a request's context after the attempt has ended.
var ErrEnded = errors.New("the attempt has ended")

const (
	maxConnections = 256      // concurrent connections of one listener; more wait
	maxHeader      = 32 << 10 // bytes of a request's header
	headerTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute
)

// EndWith returns a handler that calls next while the attempt runs, and ended afterwards. The attempt's end
// cancels the context of a running request with ErrEnded. It also ends reads and writes of the connection,
// because a context does not end a Write to a client that stopped reading.
func EndWith(attempt context.Context, ended, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control, past := http.NewResponseController(w), time.Unix(1, 0)
		// Setting a deadline fails if connections have none, for example with a test's recorder.
		if attempt.Err() != nil {
			_ = control.SetReadDeadline(past) // without it, the server waits for the rest of the body
			ended.ServeHTTP(w, r)
			return
		}
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		stop := context.AfterFunc(attempt, func() {
			cancel(ErrEnded)
			_ = control.SetReadDeadline(past)
			_ = control.SetWriteDeadline(past)
		})
		defer stop()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// Serve handles the listener's connections until the attempt ends, and closes the listener. Without a TLS
// configuration it serves plain HTTP. It returns nil at the attempt's end, else the listener's error.
// Requests that still run at the end lose their connections.
func Serve(attempt context.Context, l net.Listener, config *tls.Config, h http.Handler, log logrus.FieldLogger) error {
	server := &http.Server{
		Handler:           h,
		TLSConfig:         config,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          NewErrorLog(log),
		// HTTP/1.1 only: a non-nil map keeps HTTP/2 off.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	stop := context.AfterFunc(attempt, func() { _ = server.Close() })
	defer stop()
	l = netutil.LimitListener(l, maxConnections)
	var err error
	if config == nil {
		err = server.Serve(l)
	} else {
		err = server.ServeTLS(l, "", "")
	}
	if attempt.Err() != nil && errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
