package web

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
)

// Server returns the HTTP server for a handler, with time limits for slow clients. A log stream
// removes the limits of its own connection and sets a deadline for each write.
func Server(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           &trackedHandler{Handler: handler},
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ConnState:         trackState,
		ConnContext:       withConn,
	}
}

// A trackedHandler stores the phases of requests (trackRequest). While the server drains, it asks clients
// to close their connections.
type trackedHandler struct {
	http.Handler
	draining atomic.Bool
}

// ServeHTTP handles a request.
func (h *trackedHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.draining.Load() {
		w.Header().Set("Connection", "close")
	}
	trackRequest(h.Handler, w, r)
}

// drainTime is how long a server that stops asks its clients to close their connections, while it still
// serves them.
const drainTime = 300 * time.Millisecond

// Drain makes a server of a listener from Limited ask its clients to close their connections. It waits
// until no connection had a request in the last 300 ms, but not longer than that. Meanwhile the server
// serves as before. So clients that send many requests have no open connection that Shutdown could close
// just as a request arrives.
func Drain(server *http.Server, l net.Listener) {
	limited, ok := l.(*limitedListener)
	if !ok {
		return
	}
	closeAfterRequests(server)
	begin := time.Now()
	tick := time.NewTicker(drainTime / 30)
	defer tick.Stop()
	for now := begin; now.Sub(begin) < drainTime && limited.table.anyRecent(now.Add(-drainTime)); {
		now = <-tick.C
	}
}

func closeAfterRequests(server *http.Server) {
	if handler, ok := server.Handler.(*trackedHandler); ok {
		handler.draining.Store(true)
	}
}

// Shutdown stops a server of a listener from Limited. It leaves new connections in the kernel's queue, and
// waits for the requests of all accepted ones. When ctx ends, it cuts them off. Connections on which no
// request arrives delay it by half a second.
//
// http.Server.Shutdown alone drops the requests that it has not read completely.
func Shutdown(ctx context.Context, server *http.Server, l net.Listener) error {
	closeAfterRequests(server)
	if limited, ok := l.(*limitedListener); ok {
		limited.stopAccepting()
		limited.table.awaitRequests(ctx)
	}
	err := server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return server.Close()
	}
	return err
}

// Routes lists the routes of a handler from New, or of its Server, sorted, for example
// "GET /builds/:number". Tests check every route in the list.
func Routes(handler http.Handler) []string {
	if tracked, ok := handler.(*trackedHandler); ok {
		handler = tracked.Handler
	}
	engine, ok := handler.(*gin.Engine)
	if !ok {
		return nil
	}
	var all []string
	for _, r := range engine.Routes() {
		all = append(all, r.Method+" "+r.Path)
	}
	slices.Sort(all)
	return all
}
