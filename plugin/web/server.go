package web

import (
	"net/http"
	"time"
)

// Server returns the HTTP server for a handler, with limits that keep slow clients from
// holding it. A stream of a log lifts the limits on its own connection and sets a deadline
// for each write.
func Server(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ConnState:         trackIdle,
	}
}
