package enginetest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/engine/pipeline"
	"slipway/runner/spec"
)

// ServeProbes starts a server with the part of a gateway that steps of probes need. It returns its
// URL.
func ServeProbes(t testing.TB, probes pipeline.Probes) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if _, ok := probes.Verify(secret.New(token)); !ok || r.URL.Path != spec.ProbePath {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if err := spec.EncodeProbe(w, spec.ProbeReply{}); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL + spec.ProbePath
}

// WantProblem checks that a probe found good results, followed by one problem that contains all
// texts.
func WantProblem(t testing.TB, found []pipeline.Finding, well int, texts ...string) {
	t.Helper()
	if len(found) != well+1 {
		t.Fatalf("got findings %+v, want %d good ones and one problem", found, well)
	}
	for i, f := range found {
		if (f.Problem == "") != (i < well) || strings.Contains(f.Problem, "\n") {
			t.Errorf("finding %d: got %+v, want the problem last, in one line", i, f)
		}
	}
	for _, want := range texts {
		if !strings.Contains(found[well].Problem, want) {
			t.Errorf("problem: got no %q, want it: %s", want, found[well].Problem)
		}
	}
}
