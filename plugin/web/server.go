package web

import (
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
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

// Routes lists what a handler of New serves, sorted, as "GET /builds/:number". Tests walk it, so
// that no route is added without them.
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
