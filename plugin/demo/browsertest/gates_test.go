package browsertest_test

import (
	"net/http"
	"sync"

	"slipway/plugin/demo/demotest"
)

// gates hold builds where a test wants to look at them, which asks for RUN steps with the
// host's network.
type gates struct {
	address string

	mu   sync.Mutex
	open map[string]chan struct{} // closed = open
}

func newGates(env *demotest.Env) *gates {
	env.T.Helper()
	g := &gates{open: map[string]chan struct{}{}}
	var err error
	g.address, err = env.Serve(env.Context, g)
	env.Must(err)
	return g
}

// ServeHTTP answers when the gate that the path names is open.
func (g *gates) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case <-g.gate(r.URL.Path):
		_, _ = w.Write([]byte("open\n")) // a build that left needs nothing
	case <-r.Context().Done():
	}
}

// Wait is a line of a Dockerfile that waits until a gate is opened.
func (g *gates) Wait(name string) string {
	return "RUN wget -q -O /" + name + " http://" + g.address + "/" + name
}

// Open lets everybody through a gate from now on. It is called once for each.
func (g *gates) Open(name string) { close(g.gate("/" + name)) }

func (g *gates) gate(path string) chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open[path] == nil {
		g.open[path] = make(chan struct{})
	}
	return g.open[path]
}
