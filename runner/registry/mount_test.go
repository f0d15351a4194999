package registry_test

import (
	"errors"
	"net/http"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"slipway/config/secret"
	"slipway/runner/registry"
)

// A keeper separates the blobs of repositories, as registries do and the one in memory does not. It
// answers a mount as the specification demands: 201 if the blob exists, else 202 with the address of
// an upload.
// Source: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#mounting-a-blob-from-another-repository
type keeper struct {
	mu      sync.Mutex
	has     map[string]bool // repository and digest
	mounted []string        // from and digest
	sent    []string        // repository and digest, of blobs that came whole
	refuse  bool            // every mount
}

func (k *keeper) around(w http.ResponseWriter, r *http.Request, next http.Handler) {
	k.mu.Lock()
	defer k.mu.Unlock()
	query := r.URL.Query()
	repository, rest, isBlob := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/blobs/")
	digest, mount := path.Base(rest), query.Get("mount")
	switch {
	case isBlob && r.Method == http.MethodHead && !k.has[repository+" "+digest]:
		w.WriteHeader(http.StatusNotFound)
		return
	case isBlob && mount != "" && !k.refuse && k.has[query.Get("from")+" "+mount]:
		k.mounted, k.has[repository+" "+mount] = append(k.mounted, query.Get("from")+" "+mount), true
		w.Header().Set("Location", "/v2/"+repository+"/blobs/"+mount)
		w.WriteHeader(http.StatusCreated)
		return
	case isBlob && mount != "":
		r = r.Clone(r.Context())
		r.URL.RawQuery = ""
	case isBlob && r.Method == http.MethodPut:
		name := repository + " " + query.Get("digest")
		k.sent, k.has[name] = append(k.sent, name), true
	}
	next.ServeHTTP(w, r)
}

// serveKeeping starts a registry whose repositories have only their own blobs.
func serveKeeping(t *testing.T) (*env, *keeper) {
	f, k := serve(t), &keeper{has: map[string]bool{}}
	f.set(k.around)
	return f, k
}

func TestASecondRepositoryIsSentNoBlobTwice(t *testing.T) {
	img, err := random.Image(64, 3)
	if err != nil {
		t.Fatal(err)
	}
	idx, err := random.Index(64, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		what   remote.Taggable
		refuse bool
		blobs  int
	}{
		"an image":                         {img, false, 4},
		"an image of many":                 {idx, false, 6},
		"an image that is mounted by none": {img, true, 4},
	} {
		t.Run(what, func(t *testing.T) {
			f, k := serveKeeping(t)
			k.refuse = c.refuse
			second := strings.TrimSuffix(f.image(), "app") + "web"
			digest := pushTwice(t, c.what, f.image(), second)
			mounted, sent := c.blobs, c.blobs
			if c.refuse {
				mounted, sent = 0, 2*c.blobs
			}
			if len(k.mounted) != mounted {
				t.Errorf("mounted blobs: got %q, want %d", k.mounted, mounted)
			}
			if len(k.sent) != sent {
				t.Errorf("sent blobs: got %q, want %d", k.sent, sent)
			}
			for _, m := range k.mounted {
				if !strings.HasPrefix(m, "acme/app sha256:") {
					t.Errorf("mounted blob: got %q, want one of acme/app", m)
				}
			}
			f.set(nil)
			ref, err := name.NewDigest(second + "@" + digest)
			if err != nil {
				t.Fatal(err)
			}
			if _, isImage := c.what.(v1.Image); isImage {
				got, err := remote.Image(ref)
				if err != nil {
					t.Fatal(err)
				}
				if err := validate.Image(got); err != nil {
					t.Error(err)
				}
				return
			}
			got, err := remote.Index(ref)
			if err != nil {
				t.Fatal(err)
			}
			if err := validate.Index(got); err != nil {
				t.Error(err)
			}
		})
	}
}

// Blobs of another registry cannot be mounted. The client does not request it, because some registries
// then expect to have the blob.
func TestAnotherRegistryIsSentEverything(t *testing.T) {
	img, err := random.Image(64, 2)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := serveKeeping(t)
	second, k := serveKeeping(t)
	pushTwice(t, img, first.image(), second.image())
	if len(k.sent) != 3 {
		t.Errorf("sent blobs: got %q, want 3", k.sent)
	}
	if len(k.mounted) != 0 {
		t.Errorf("mounted blobs: got %q, want none", k.mounted)
	}
}

// pushTwice puts an image into a repository, and into another one that may mount from the first.
func pushTwice(t *testing.T, what remote.Taggable, first, second string) (digest string) {
	t.Helper()
	h, err := what.(interface{ Digest() (v1.Hash, error) }).Digest()
	if err != nil {
		t.Fatal(err)
	}
	c := client(registry.Options{})
	if err := c.Upload(t.Context(), first, h.String(), what, registry.Login{}); err != nil {
		t.Fatal(err)
	}
	mountable, err := registry.Mountable(what, first)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Upload(t.Context(), second, h.String(), mountable, registry.Login{}); err != nil {
		t.Fatal(err)
	}
	return h.String()
}

// bearing makes a registry demand a token, and issues one to authorized clients.
func bearing(f *env, give func(*http.Request) bool, next func(http.ResponseWriter, *http.Request, http.Handler)) {
	f.set(func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
		switch {
		case r.URL.Path == "/token" && give(r):
			_, _ = w.Write([]byte(`{"token":"t","access_token":"t"}`))
		case r.URL.Path == "/token":
			w.WriteHeader(http.StatusUnauthorized)
		case r.Header.Get("Authorization") != "Bearer t":
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+f.URL+`/token",service="r"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			next(w, r, inner)
		}
	})
}

// Without the scope to pull from the first repository, a registry mounts nothing.
func TestMountingAsksForATokenOfBothRepositories(t *testing.T) {
	img, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	f, k := serveKeeping(t)
	scopes := map[string]bool{}
	bearing(f, func(r *http.Request) bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, s := range r.URL.Query()["scope"] {
			scopes[s] = true
		}
		return true
	}, k.around)
	pushTwice(t, img, f.image(), strings.TrimSuffix(f.image(), "app")+"web")
	switch {
	case !scopes["repository:acme/app:pull"]:
		t.Errorf("token scopes: got %v, want pull of acme/app", scopes)
	case !scopes["repository:acme/web:push,pull"]:
		t.Errorf("token scopes: got %v, want push and pull of acme/web", scopes)
	case len(k.mounted) != 2:
		t.Errorf("mounted blobs: got %q, want 2", k.mounted)
	}
}

// An identity token is OAuth 2's refresh token.
// Source: https://distribution.github.io/distribution/spec/auth/oauth/
func TestAnIdentityTokenLogsIn(t *testing.T) {
	f := serve(t)
	bearing(f, func(r *http.Request) bool {
		return r.Method == http.MethodPost && r.FormValue("grant_type") == "refresh_token" &&
			r.FormValue("refresh_token") == "right"
	}, func(w http.ResponseWriter, r *http.Request, inner http.Handler) { inner.ServeHTTP(w, r) })
	c := client(registry.Options{})
	if err := c.Check(t.Context(), f.image(), registry.Login{Password: secret.New("right")}); err != nil {
		t.Errorf("right token: got error %v, want nil", err)
	}
	err := c.Check(t.Context(), f.image(), registry.Login{Password: secret.New("wrong-canary")})
	var refused *registry.UnauthorizedError
	if !errors.As(err, &refused) {
		t.Fatalf("wrong token: got %v, want an UnauthorizedError", err)
	}
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("wrong token: got error %v, want no token in it", err)
	}
}
