package web

import (
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
)

// Server returns the HTTP server for a handler, with time limits for slow clients. A log stream
// removes the limits of its own connection and sets a deadline for each write.
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

// Routes lists the routes of a handler from New, sorted, for example "GET /builds/:number". Tests
// check every route in the list.
func Routes(handler http.Handler) []string {
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
