package network

import (
	"testing"

	"slipway/config/must"
)

// BenchmarkAttempt makes and removes the network of an attempt: a router, and namespaces for its sandbox
// and a service.
func BenchmarkAttempt(b *testing.B) {
	w := newWorld(b)
	must.Succeed(b, func() error { router := newRouter(b, w.options()); return router.Close() }()) // the host's rules
	for b.Loop() {
		router := must.Get[*Router](b)(NewRouter(b.Context(), w.options()))
		for _, name := range []string{"hook", "db"} {
			must.Get[*Namespace](b)(router.Join(b.Context(), name))
		}
		b.StopTimer()
		must.Succeed(b, router.Close())
		b.StartTimer()
	}
}
