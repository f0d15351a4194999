package woodpecker_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"slipway/plugin/engine/woodpecker/woodpeckertest"
)

const (
	configPath = "/extensions/woodpecker/config"
	secretPath = "/extensions/woodpecker/secret"
	keyPath    = "/api/signature/public-key"
)

// pushed is the extensions' request about a push, which is not a pipeline of ours.
const pushed = `{"repo":{"full_name":"acme/app"},"pipeline":{"number":3,"event":"push","author":"alice"},` +
	`"netrc":{"password":"hunter2"}}`

// ask sends the gateway a signed request. change may alter it after it was signed.
func (e *env) ask(path, body string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(e.t.Context(), http.MethodPost, path, strings.NewReader(body))
	e.server.Sign(r, []byte(body), e.clock.now())
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	e.gateway.ServeHTTP(w, r)
	return w
}

// wantRefused sends an altered request and checks that the response is 401 with one line that has
// the reason.
func (e *env) wantRefused(change func(*http.Request), wantText string) {
	e.t.Helper()
	w := e.ask(configPath, pushed, change)
	if w.Code != http.StatusUnauthorized {
		e.t.Errorf("status: got %d, want 401", w.Code)
	}
	body := w.Body.String()
	if !strings.Contains(body, wantText) {
		e.t.Errorf("body: got %q, want %q in it", body, wantText)
	}
	if strings.Count(body, "\n") != 1 {
		e.t.Errorf("body: got %q, want one line", body)
	}
}

func TestAValidSignatureIsAccepted(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	for _, path := range []string{configPath, secretPath, configPath + "?a=b%20c&d"} {
		if w := e.ask(path, pushed, nil); w.Code != http.StatusNoContent {
			t.Errorf("%s: got status %d %s, want %d", path, w.Code, w.Body, http.StatusNoContent)
		}
	}
	if n := e.proxy.times(keyPath); n != 1 {
		t.Errorf("fetches of the key: got %d, want 1", n)
	}
	for _, at := range []time.Duration{-4 * time.Minute, 4 * time.Minute} {
		w := e.ask(
			configPath, pushed,
			func(r *http.Request) { e.server.Sign(r, []byte(pushed), e.clock.now().Add(at)) },
		)
		if w.Code != http.StatusNoContent {
			t.Errorf("signed %s from now: got status %d %s, want %d", at, w.Code, w.Body, http.StatusNoContent)
		}
	}
}

func TestAnInvalidSignatureIsRefused(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	other := woodpeckertest.New(woodpeckertest.Options{})
	defer other.Close()
	const form, base = "does not have Woodpecker's form", "does not match the server's key"
	header := func(name, old, replacement string) func(*http.Request) {
		return func(r *http.Request) {
			value := r.Header.Get(name)
			if !strings.Contains(value, old) {
				e.t.Errorf("%s: got %q, want it to contain %q", name, value, old)
			}
			r.Header.Set(name, strings.Replace(value, old, replacement, 1))
		}
	}
	for name, c := range map[string]struct {
		change   func(*http.Request)
		wantText string
	}{
		"body swapped": {
			func(r *http.Request) { r.Body = readCloser(strings.ToUpper(pushed)) }, "Content-Digest does not match the body",
		},
		"body and digest": {func(r *http.Request) { swap(e, other, r) }, base},
		"body cut": {
			func(r *http.Request) { r.Body = readCloser(pushed[:20]) }, "Content-Digest does not match the body",
		},
		"another path":         {func(r *http.Request) { r.RequestURI = secretPath }, base},
		"another query":        {func(r *http.Request) { r.RequestURI += "?x" }, base},
		"another server's key": {func(r *http.Request) { other.Sign(r, []byte(pushed), e.clock.now()) }, base},
		"no signature":         {func(r *http.Request) { r.Header.Del("Signature") }, "Signature is missing"},
		"no input": {
			func(r *http.Request) { r.Header.Del("Signature-Input") }, "Signature-Input is missing",
		},
		"no digest": {func(r *http.Request) { r.Header.Del("Content-Digest") }, "Content-Digest is missing"},
		"stale": {
			func(r *http.Request) { e.server.Sign(r, []byte(pushed), e.clock.now().Add(-6*time.Minute)) },
			"check both clocks",
		},
		"from the future": {
			func(r *http.Request) { e.server.Sign(r, []byte(pushed), e.clock.now().Add(6*time.Minute)) },
			"check both clocks",
		},
		"made young":        {header("Signature-Input", "created=", "created=1"), "check both clocks"},
		"of another second": {func(r *http.Request) { another(e, r) }, base},
		"another algorithm": {header("Signature-Input", "ed25519", "hmac-sha256"), form},
		"no algorithm":      {header("Signature-Input", `;alg="ed25519"`, ""), form},
		"no time": {func(r *http.Request) {
			r.Header.Set("Signature-Input", `woodpecker-ci-extensions=("@request-target" "content-digest");alg="ed25519"`)
		}, form},
		"time is no number":      {header("Signature-Input", "created=", "created=x"), form},
		"digest not covered":     {header("Signature-Input", ` "content-digest"`, ""), form},
		"target not covered":     {header("Signature-Input", `"@request-target" `, ""), form},
		"nothing covered":        {header("Signature-Input", `"@request-target" "content-digest"`, ""), form},
		"more covered":           {header("Signature-Input", `"content-digest"`, `"content-digest" "date"`), form},
		"another label":          {header("Signature-Input", "woodpecker-ci-extensions", "sig1"), form},
		"label of the signature": {header("Signature", "woodpecker-ci-extensions", "sig1"), form},
		"two labels":             {header("Signature-Input", "woodpecker", "sig1=();created=1, woodpecker"), form},
		"two labels, ours first": {
			func(r *http.Request) { r.Header.Set("Signature-Input", r.Header.Get("Signature-Input")+", sig1=()") },
			form,
		},
		"two signatures": {
			func(r *http.Request) { r.Header.Add("Signature", r.Header.Get("Signature")) }, "got 2 headers",
		},
		"two inputs": {
			func(r *http.Request) { r.Header.Add("Signature-Input", r.Header.Get("Signature-Input")) }, "got 2 headers",
		},
		"two digests": {
			func(r *http.Request) { r.Header.Add("Content-Digest", "sha-256=:AAAA:") }, "got 2 headers",
		},
		"another digest": {header("Content-Digest", "sha-256", "sha-512"), "Content-Digest does not match the body"},
		"signature cut":  {header("Signature", "==:", ":"), form},
		"signature short": {
			func(r *http.Request) { r.Header.Set("Signature", "woodpecker-ci-extensions=:AAAA:") }, form,
		},
		"signature of nothing": {func(r *http.Request) {
			r.Header.Set("Signature", "woodpecker-ci-extensions=:"+strings.Repeat("A", 86)+"==:")
		}, base},
		"a header without end": {
			func(r *http.Request) { r.Header.Set("Signature-Input", strings.Repeat("a", 1<<20)) }, "too long",
		},
	} {
		t.Log(name)
		e.wantRefused(c.change, c.wantText)
	}
	if strings.Contains(e.log.String(), "hunter2") {
		t.Error("log: got a request body in it, want none")
	}
}

// swap replaces the body and the digest, and keeps the signature.
func swap(e *env, other *woodpeckertest.Server, r *http.Request) {
	signature := r.Header.Get("Signature")
	body := strings.ToUpper(pushed)
	other.Sign(r, []byte(body), e.clock.now())
	r.Header.Set("Signature", signature)
	r.Body = readCloser(body)
}

// another replaces the time of the signature.
func another(e *env, r *http.Request) {
	signature := r.Header.Get("Signature")
	e.server.Sign(r, []byte(pushed), e.clock.now().Add(-2*time.Second))
	r.Header.Set("Signature", signature)
}

func TestAHugeBodyIsNotRead(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	if w := e.ask(configPath, strings.Repeat("x", 5<<20), nil); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("response: got status %d %s, want %d", w.Code, w.Body, http.StatusRequestEntityTooLarge)
	}
	if n := e.proxy.times(keyPath); n != 0 {
		t.Errorf("fetches of the key: got %d, want none", n)
	}
}

func TestAnInvalidBodyIsRefused(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	if w := e.ask(configPath, `[]`, nil); w.Code != http.StatusUnauthorized {
		t.Errorf("response: got status %d %s, want %d", w.Code, w.Body, http.StatusUnauthorized)
	}
}

func TestOnlyPostIsAccepted(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	w := httptest.NewRecorder()
	e.gateway.ServeHTTP(w, httptest.NewRequest(http.MethodGet, configPath, nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: got status %d, want %d", w.Code, http.StatusMethodNotAllowed)
	}
}

// If the server has a new key, its signatures are accepted. Signatures with any other key do not
// cause frequent requests for the key.
func TestAChangedKeyIsFetchedAgain(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	if w := e.ask(configPath, pushed, nil); w.Code != http.StatusNoContent {
		t.Fatalf("response: got status %d, want %d", w.Code, http.StatusNoContent)
	}
	e.server.RotateKey()
	e.wantRefused(nil, "does not match the server's key") // the key was fetched a moment ago
	e.clock.add(11 * time.Second)
	if w := e.ask(configPath, pushed, nil); w.Code != http.StatusNoContent {
		t.Errorf("with the new key: got status %d %s, want %d", w.Code, w.Body, http.StatusNoContent)
	}
	other := woodpeckertest.New(woodpeckertest.Options{})
	defer other.Close()
	for range 20 {
		e.clock.add(time.Second)
		e.wantRefused(
			func(r *http.Request) { other.Sign(r, []byte(pushed), e.clock.now()) },
			"does not match the server's key",
		)
	}
	if n := e.proxy.times(keyPath); n < 3 || n > 5 {
		t.Errorf("fetches of the key: got %d, want two, and one for each ten seconds of forged requests", n)
	}
}

// Without a key the gateway asks Woodpecker to retry, and does not reveal the server's address.
func TestWithoutAKeyWoodpeckerRetries(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	for name, instead := range map[string]http.HandlerFunc{
		"connection dropped": drop, "server fails": status(http.StatusInternalServerError, "oh"),
		"no PEM":       status(http.StatusOK, "<html>"),
		"not a key":    status(http.StatusOK, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
		"not there":    status(http.StatusNotFound, ""),
		"another kind": status(http.StatusOK, p256),
	} {
		e.clock.add(time.Second)
		e.proxy.respond(instead)
		w := e.ask(configPath, pushed, nil)
		if w.Code != http.StatusServiceUnavailable || w.Body.String() != "the gateway cannot respond now\n" {
			t.Errorf("%s: got status %d %s, want 503", name, w.Code, w.Body)
		}
		before := e.proxy.times(keyPath)
		if w := e.ask(configPath, pushed, nil); w.Code != http.StatusServiceUnavailable ||
			e.proxy.times(keyPath) > before+1 {
			t.Errorf("%s: immediate repetition: got status %d after %d fetches, want 503 after at most 1",
				name, w.Code, e.proxy.times(keyPath)-before)
		}
	}
	e.clock.add(time.Second)
	e.proxy.respond(nil)
	if w := e.ask(configPath, pushed, nil); w.Code != http.StatusNoContent {
		t.Errorf("when the key is available: got status %d %s, want %d", w.Code, w.Body, http.StatusNoContent)
	}
}

// p256 is a public key that is not ed25519.
const p256 = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt
6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==
-----END PUBLIC KEY-----
`

type body struct{ *bytes.Reader }

func (body) Close() error { return nil }

func readCloser(text string) body { return body{bytes.NewReader([]byte(text))} }
