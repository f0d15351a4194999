package browsertest_test

import (
	"net/http"
	"sync"

	"slipway/plugin/demo/demotest"
)

// gates block builds at points where a test checks their pages. Their RUN steps need the network of
// the host.
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

// ServeHTTP blocks until the gate with the name of the path is open.
func (g *gates) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case <-g.gate(r.URL.Path):
		_, _ = w.Write([]byte("open\n")) // the build may have been canceled
	case <-r.Context().Done():
	}
}

// Wait returns a Dockerfile line that waits until a gate is open.
func (g *gates) Wait(name string) string {
	return "RUN wget -q -O /" + name + " http://" + g.address + "/" + name
}

// Open opens a gate. It must be called at most once for each gate.
func (g *gates) Open(name string) { close(g.gate("/" + name)) }

func (g *gates) gate(path string) chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open[path] == nil {
		g.open[path] = make(chan struct{})
	}
	return g.open[path]
}
