package buildkit_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"slipway/config/secret"
	"slipway/runner/spec"
)

// A listener is a registry that asks for a login, accepts every one, and notes the user names that it gets.
type listener struct {
	host  string
	realm string // address of the token service; empty = the registry uses Basic
	inner http.Handler

	mu    sync.Mutex
	users []string
}

// listen serves a registry with an image base:1. With bearer, it has a token service.
func listen(t *testing.T, bearer bool) *listener {
	t.Helper()
	l := &listener{inner: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	server := httptest.NewServer(l)
	t.Cleanup(server.Close)
	l.host = strings.TrimPrefix(server.URL, "http://")
	if bearer {
		l.realm = server.URL + "/token"
	}
	open := httptest.NewServer(l.inner)
	defer open.Close()
	for _, path := range []string{"/acme/base:1", "/library/base:1"} {
		ref, err := name.NewTag(strings.TrimPrefix(open.URL, "http://") + path)
		if err != nil {
			t.Fatal(err)
		}
		base, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{Architecture: runtime.GOARCH, OS: "linux"})
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(ref, base); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, _, basic := r.BasicAuth()
	if r.URL.Path == "/token" && r.Method == http.MethodPost {
		user, basic = r.PostFormValue("username"), true
	}
	if basic {
		l.mu.Lock()
		l.users = append(l.users, user)
		l.mu.Unlock()
	}
	switch {
	case r.URL.Path == "/token":
		_, _ = io.WriteString(w, `{"token":"t","access_token":"t"}`)
	case r.Header.Get("Authorization") == "" && l.realm != "":
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="registry"`, l.realm))
		w.WriteHeader(http.StatusUnauthorized)
	case r.Header.Get("Authorization") == "":
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		w.WriteHeader(http.StatusUnauthorized)
	default:
		l.inner.ServeHTTP(w, r)
	}
}

// seen returns the different user names that the registry got.
func (l *listener) seen() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	users := slices.Clone(l.users)
	slices.Sort(users)
	return slices.Compact(users)
}

// A base image, a cache, a push and a token service each get the login of their registry, and no other.
func TestABuildSendsALoginToItsRegistryOnly(t *testing.T) {
	needBuildKit(t)
	ada, bob := listen(t, false), listen(t, true)
	nobody, mirror := listen(t, true), listen(t, true)
	tokens := listen(t, true) // the token service of another registry
	bob.realm = "http://" + tokens.host + "/token"
	login := func(host, user string) spec.RegistryCredential {
		return spec.RegistryCredential{
			Host: host, Credential: spec.Credential{Username: user, Password: secret.New("pw")},
		}
	}
	client := start(t, t.TempDir(), "--mirror", "http://"+mirror.host+"/").dial(t)
	for name, from := range map[string]string{
		"base images": "FROM " + ada.host + "/acme/base:1 AS a\nFROM " + bob.host + "/acme/base:1 AS b\nFROM " +
			nobody.host + "/acme/base:1 AS n\nFROM base:1\nCOPY --from=a / /a\nCOPY --from=b / /b\nCOPY --from=n / /n\n",
		"caches": "FROM scratch\nCOPY a /a\n",
	} {
		r := request(write(t, map[string]string{"Dockerfile": from + "COPY a /b\n", "a": "a"}))
		r.Registries = []spec.RegistryCredential{
			login(
				ada.host,
				"ada",
			),
			login(bob.host, "bob"),
			login("docker.io", "hub"),
			login("other.example.com", "other"),
		}
		r.Image, r.Publish = ada.host+"/acme/app", true
		if name == "caches" {
			cache := func(host string) spec.Cache {
				return spec.Cache{Type: spec.CacheRegistry, Attrs: map[string]string{"ref": host + "/acme/cache:1"}}
			}
			r.Options.CacheFrom = []spec.Cache{cache(ada.host), cache(bob.host), cache(nobody.host)}
			r.Options.CacheTo = []spec.Cache{cache(bob.host)}
		}
		if _, err := client.Build(t.Context(), r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for _, c := range []struct {
		name string
		at   *listener
		want []string
	}{
		{"registry with Basic", ada, []string{"ada"}},
		{"registry with tokens", bob, nil},
		{"token service of that registry", tokens, []string{"bob"}},
		{"registry without a login", nobody, nil},
		{"mirror of Docker Hub", mirror, nil},
	} {
		got := slices.DeleteFunc(c.at.seen(), func(user string) bool { return user == "" })
		if len(got) == 0 {
			got = nil
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: user names (-want +got):\n%s", c.name, diff)
		}
	}
}
