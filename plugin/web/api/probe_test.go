package api_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"slipway/config/secret"
)

// known is the one token that is of a probe.
type known string

func (k known) Know(token secret.Secret) bool { return token.Equal(secret.New(string(k))) }

func TestOnlyAProbesTokenIsWellForAProbe(t *testing.T) {
	d := newDesk(t)
	for authorization, want := range map[string]int{
		"Bearer probe-token": http.StatusNoContent, "Bearer " + token: http.StatusUnauthorized, "Bearer ": http.StatusUnauthorized,
		"probe-token": http.StatusUnauthorized, "": http.StatusUnauthorized,
	} {
		r := httptest.NewRequest(http.MethodPost, "/runner/v1/probe", http.NoBody)
		r.Header.Set("Authorization", authorization)
		w := httptest.NewRecorder()
		d.engine.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("with %q: %d, want %d", authorization, w.Code, want)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/runner/v1/builds/"+d.build.ID+"/events", http.NoBody)
	r.Header.Set("Authorization", "Bearer probe-token")
	w := httptest.NewRecorder()
	d.engine.ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("a probe's token for a build: %d", w.Code)
	}
}
