package service

import "sync"

// maxConnections bounds the open connections of one user. Each attempt has one connection. The others
// are for requests of the level.
const maxConnections = maxAttempts + 64

// connections counts the open connections of each user. So a compromised gateway cannot use up the
// service's descriptors and memory. It is safe for concurrent use.
type connections struct {
	mu   sync.Mutex
	open map[uint32]int  // numbers of open connections by user
	full map[uint32]bool // users at the limit, to log it once
}

func newConnections() *connections {
	return &connections{open: map[uint32]int{}, full: map[uint32]bool{}}
}

// add counts a connection. If the user already has too many, admitted is false. first reports whether
// this is the first refusal since the user was below the limit. The caller calls remove at the end of an
// admitted connection.
func (c *connections) add(uid uint32) (admitted, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[uid] >= maxConnections {
		first = !c.full[uid]
		c.full[uid] = true
		return false, first
	}
	c.open[uid]++
	return true, false
}

func (c *connections) remove(uid uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.full, uid)
	if c.open[uid]--; c.open[uid] == 0 {
		delete(c.open, uid)
	}
}
