package web

import (
	"context"
	"io"
	"net"
	"net/http"
)

type connKey struct{}

// withConn is the ConnContext function of a server. It adds the connection for trackRequest.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// trackState is the ConnState function of a server. It stores the phases between requests.
func trackState(c net.Conn, state http.ConnState) {
	limited, ok := c.(*limitedConn)
	if !ok {
		return
	}
	switch state {
	case http.StateIdle:
		limited.table.move(limited, phaseIdle)
	case http.StateHijacked:
		limited.table.move(limited, phaseServed)
	case http.StateNew, http.StateActive, http.StateClosed: // Read, trackRequest and Close see more
	}
}

// trackRequest handles a request, and stores its phases.
func trackRequest(handler http.Handler, w http.ResponseWriter, r *http.Request) {
	limited, ok := r.Context().Value(connKey{}).(*limitedConn)
	if !ok {
		handler.ServeHTTP(w, r)
		return
	}
	phase := phaseServed
	if r.ContentLength != 0 {
		phase = phaseBody
		r.Body = &trackedBody{ReadCloser: r.Body, conn: limited}
	}
	limited.table.move(limited, phase)
	defer limited.table.move(limited, phaseHeader)
	handler.ServeHTTP(w, r)
}

// A trackedBody notes when a request's body is complete.
type trackedBody struct {
	io.ReadCloser
	conn *limitedConn
}

// Read reads from the body.
func (b *trackedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.conn.table.move(b.conn, phaseServed)
	}
	return n, err
}
