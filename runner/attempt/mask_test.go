package attempt_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/runner/buildkit"
	"slipway/runner/runnertest"
	"slipway/runner/spec"
)

// A build's result is on its page and on the provider's commit page. So it is masked like the log,
// before it is cut.
func TestResultsAreMasked(t *testing.T) {
	const token = "npm-canary-0123456789"
	for name, test := range map[string]struct {
		prepare func(*env)
		state   spec.State
		reason  string
	}{
		"a command of the Dockerfile": {func(e *env) {
			line := strings.Repeat("x", 480) + " " + token + " did not complete"
			e.Builder.BuildError = &buildkit.BuildError{Err: errors.New(line)}
		}, spec.Failed, "build"},
		"a response of the registry": {func(e *env) {
			e.Registry.Intercept(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Method != http.MethodPut {
					next.ServeHTTP(rw, r)
					return
				}
				rw.WriteHeader(http.StatusBadRequest)
				_, _ = rw.Write([]byte(`{"errors":[{"code":"TAG_INVALID","message":"` + token + `"}]}`))
			})
		}, spec.Error, "infrastructure"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.Edit = func(s *spec.Spec) { s.Environment["TOKEN"] = secret.New(token) }
			test.prepare(e)
			b := e.must(e.Push(runnertest.Dockerfile("FROM scratch\n")), test.state, test.reason)
			if strings.Contains(b.Detail, token[:10]) {
				t.Errorf("detail: got %q, want no secret in it", b.Detail)
			}
			if !strings.Contains(b.Detail, "*****") {
				t.Errorf("detail: got %q, want stars in it", b.Detail)
			}
		})
	}
}
