package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"slipway/config/secret"
)

// known is a fake Probes with one token.
type known string

func (k known) Verify(token secret.Secret) (engine string, ok bool) {
	return "drone", token.Equal(secret.New(string(k)))
}

func TestAProbeNeedsAProbesToken(t *testing.T) {
	e := newEnv(t)
	for authorization, want := range map[string]int{
		"Bearer probe-token": http.StatusOK, "Bearer " + token: http.StatusUnauthorized, "Bearer ": http.StatusUnauthorized,
		"probe-token": http.StatusUnauthorized, "": http.StatusUnauthorized,
	} {
		r := httptest.NewRequest(http.MethodPost, "/runner/v1/probe", http.NoBody)
		r.Header.Set("Authorization", authorization)
		w := httptest.NewRecorder()
		e.engine.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("with %q: got status %d, want %d", authorization, w.Code, want)
		}
		if given := strings.Contains(w.Body.String(), "certificate of drone"); given != (want == http.StatusOK) {
			t.Errorf("with %q: got certificate %t, want %t", authorization, given, want == http.StatusOK)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/runner/v1/builds/"+e.build.ID+"/events", http.NoBody)
	r.Header.Set("Authorization", "Bearer probe-token")
	w := httptest.NewRecorder()
	e.engine.ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("a probe's token for a build: got Code %v, want %v", w.Code, http.StatusUnauthorized)
	}
}
