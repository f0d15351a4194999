package web

import (
	"context"
	"net/http"
	"testing"
	"time"

	"slipway/config/must"
)

// Browsers open connections in advance. Webhooks that arrive meanwhile wait, and Bitbucket does so for 10 s.
func TestShutdownDoesNotWaitForASilentConnection(t *testing.T) {
	l := Limited(listen(t), nil).(*limitedListener)
	s := Server(http.NotFoundHandler())
	dial(t, serveOn(t, s, l))
	must.Eventually(t, "the connection is accepted", func() bool {
		l.table.mu.Lock()
		defer l.table.mu.Unlock()
		return l.table.open == 1
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	began := time.Now()
	must.Succeed(t, Shutdown(ctx, s, l))
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("shutdown: got %s, want about %s", took, silentTime)
	}
}
