package runner_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/runner"
	"slipway/runner/spec"
)

// A build's result is shown on its page and on the commit at the provider: it is masked as the log is,
// before it is cut.
func TestResultsAreMasked(t *testing.T) {
	const token = "npm-canary-0123456789"
	for name, test := range map[string]struct {
		prepare func(*world)
		state   autobuild.State
		reason  autobuild.Reason
	}{
		"a command of the Dockerfile": {func(w *world) {
			line := strings.Repeat("x", 480) + " " + token + " did not complete"
			w.builder.buildError = &runner.DockerfileError{Err: errors.New(line)}
		}, autobuild.Failed, autobuild.ReasonBuild},
		"an answer of the registry": {func(w *world) {
			w.registry.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Method != http.MethodPut {
					next.ServeHTTP(rw, r)
					return
				}
				rw.WriteHeader(http.StatusBadRequest)
				_, _ = rw.Write([]byte(`{"errors":[{"code":"TAG_INVALID","message":"` + token + `"}]}`))
			})
		}, autobuild.Errored, autobuild.ReasonInfrastructure},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.edit = func(s *spec.Spec) { s.Environment["TOKEN"] = secret.New(token) }
			test.prepare(w)
			b := w.must(w.push(dockerfile("FROM scratch\n")), test.state, test.reason)
			if strings.Contains(b.Detail, token[:10]) {
				t.Errorf("the result shows the secret: %q", b.Detail)
			}
			if !strings.Contains(b.Detail, "*****") {
				t.Errorf("got detail %q, want stars in it", b.Detail)
			}
		})
	}
}
