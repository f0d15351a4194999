package registryproxy

import (
	"errors"
	"io"
	"sync"
)

// errShut is the error of a Read after shut.
var errShut = errors.New("the registry responded before it received the body")

// A gate passes a client's body to one request. http.Transport may still read a body after it has
// returned the response. So a body is sent again only through a new gate, after the old one is shut.
type gate struct {
	from io.Reader

	mu    sync.Mutex
	begun bool
	ended bool
}

// Read reads from the client's body.
func (g *gate) Read(p []byte) (int, error) {
	g.mu.Lock()
	ended := g.ended
	if !ended {
		g.begun = true
	}
	g.mu.Unlock()
	if ended {
		return 0, errShut
	}
	return g.from.Read(p)
}

// shut stops further reads, and reports whether none has begun.
func (g *gate) shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	return !g.begun
}
