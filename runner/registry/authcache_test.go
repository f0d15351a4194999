package registry_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"slipway/runner/registry"
)

// expiring makes a registry accept only the newest token, and lets it expire. The tokens are long:
// the head of a request is sent before its body is needed. Go would otherwise send the body again.
func expiring(f *env) (expire func()) {
	var given, valid atomic.Int32
	token := func(n int32) string { return fmt.Sprintf("t%d%s", n, strings.Repeat("x", 8<<10)) }
	f.set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		switch {
		case r.URL.Path == "/token":
			n := given.Add(1)
			valid.Store(n)
			_, _ = fmt.Fprintf(w, `{"token":%q}`, token(n)) // to the test itself
		case r.Header.Get("Authorization") != "Bearer "+token(valid.Load()):
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+f.URL+`/token",service="r"`)
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusAccepted) // without a location: no upload is canceled, which would renew the token
		default:
			next.ServeHTTP(w, r)
		}
	})
	return func() { valid.Store(-1) }
}

// Docker Hub's tokens are valid for five minutes, and a build may take longer. The body that was sent
// with the old token is consumed by then, so the client makes the whole request again.
func TestATagMovesAfterTheTokenExpired(t *testing.T) {
	for name, known := range map[string]bool{"known": true, "to be read": false} {
		t.Run(name, func(t *testing.T) {
			f := serve(t)
			c := client(registry.Options{Attempts: 1})
			m := registry.Manifest{Digest: f.put(t)}
			expire := expiring(f)
			if err := c.Check(t.Context(), f.image(), registry.Login{}); err != nil {
				t.Fatal(err)
			}
			if known {
				var err error
				if m, err = c.Manifest(t.Context(), f.image(), m.Digest, registry.Login{}); err != nil {
					t.Fatal(err)
				}
			}
			expire()
			if err := c.Tag(t.Context(), f.image(), m, "1.2", registry.Login{}); err != nil {
				t.Fatalf("Tag: %v; requests %q", err, f.seen())
			}
			if got, err := c.Digest(t.Context(), f.image(), "1.2", registry.Login{}); err != nil || got != m.Digest {
				t.Errorf("digest of tag 1.2: got %q, error %v, want %s", got, err, m.Digest)
			}
			tries := slices.DeleteFunc(
				f.seen(),
				func(request string) bool { return !strings.HasPrefix(request, http.MethodPut) },
			)
			if known && len(tries) < 2 {
				t.Errorf("PUT requests: got %q, want the first with the old token and a second one", tries)
			}
		})
	}
}

// Check cancels the upload that it began. Otherwise the registry keeps it for a week.
func TestCheckCancelsItsUpload(t *testing.T) {
	f := serve(t)
	const place = "/v2/acme/app/blobs/uploads/7?state=s"
	given := make(chan string, 1)
	f.set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		switch r.Method {
		case http.MethodPost:
			w.Header().Set("Location", place)
			w.WriteHeader(http.StatusAccepted)
		case http.MethodDelete:
			w.WriteHeader(http.StatusNoContent)
			given <- r.URL.RequestURI()
		default:
			next.ServeHTTP(w, r)
		}
	})
	if err := client(registry.Options{}).Check(t.Context(), f.image(), registry.Login{}); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-given:
		if got != place {
			t.Errorf("canceled upload: got %s, want %s", got, place)
		}
	case <-time.After(10 * time.Second):
		t.Error("DELETE of the upload: got none in 10 s, want one")
	}
}
