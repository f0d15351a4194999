package web

import (
	"context"
	"time"
)

// silentTime is how long a new connection may be silent while the server stops. The first request of a
// client arrives earlier.
const silentTime = 500 * time.Millisecond

// awaitRequests waits until no connection has a request, and all are silent for silentTime, or until ctx ends.
// It closes those with an incomplete header that are silent for so long. At the end it closes all, because
// http.Server.Shutdown waits five seconds for a new connection without a request, which browsers open in advance.
func (t *connTable) awaitRequests(ctx context.Context) {
	tick := time.NewTicker(silentTime / 50)
	defer tick.Stop()
	for {
		silent, open := t.silent()
		isLast := len(silent) == open
		for _, c := range silent {
			if isLast || c.hasHeader() {
				_ = c.Close() // the client can connect again
			}
		}
		if isLast {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// hasHeader reports whether a part of a header has arrived.
func (c *limitedConn) hasHeader() bool {
	c.table.mu.Lock()
	defer c.table.mu.Unlock()
	return c.phase == phaseHeader
}

// anyRecent reports whether the phase of any connection began after a time.
func (t *connTable) anyRecent(after time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, client := range t.clients {
		for phase := range client.conns {
			last := client.conns[phase].Back()
			if last != nil && last.Value.(*limitedConn).since.After(after) { //nolint:forcetypeassert // no others
				return true
			}
		}
	}
	return false
}

// silent returns the waiting connections on which nothing has arrived for silentTime, and the number of all
// connections.
func (t *connTable) silent() (silent []*limitedConn, open int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	limit := t.now().Add(-silentTime)
	for _, client := range t.clients {
		for _, phase := range []connPhase{phaseIdle, phaseHeader} {
			for e := client.conns[phase].Front(); e != nil; e = e.Next() {
				c := e.Value.(*limitedConn) //nolint:forcetypeassert // the lists have no others
				if c.since.Before(limit) {
					silent = append(silent, c)
				}
			}
		}
	}
	return silent, t.open
}
