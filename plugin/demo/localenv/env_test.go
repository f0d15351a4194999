package localenv_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"slipway/config/secret"
	"slipway/plugin/demo/localenv"
	"slipway/plugin/demo/sample"
)

// A browser sends all fields of a form, with the typed values.
func TestBrowserSubmits(t *testing.T) {
	const page = `<!doctype html><main><a href="/other">Other</a> <form method="post" action="/save">
		<input name="kept" value="1"><input name="typed" value="old">
		<input type="checkbox" name="on" checked><input type="checkbox" name="off">
		<input type="radio" name="pick" value="a"><input type="radio" name="pick" value="b" checked>
		<textarea name="text">lines</textarea>
		<select name="choice"><option value="x">X</option><option value="y" selected>Y</option></select>
		<input type="submit" name="button" value="go"></form></main>`
	var got url.Values
	mux := http.NewServeMux()
	mux.HandleFunc("GET /form", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, page) })
	mux.HandleFunc("POST /save", func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		got = r.PostForm
		http.Redirect(w, r, "/saved", http.StatusSeeOther)
	})
	mux.HandleFunc("GET /saved", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "<p>all\n is <b>saved</b>")
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	b, err := localenv.NewBrowser()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Visit(t.Context(), "/form"); err == nil {
		t.Error("visit a relative URL first: got no error, want one")
	}
	if err := b.Visit(t.Context(), server.URL+"/form"); err != nil {
		t.Fatal(err)
	}
	if !b.Has("typed") {
		t.Error("field typed: got none, want one")
	}
	if b.Has("absent") {
		t.Error("field absent: got one, want none")
	}
	if err := b.Submit(t.Context(), "/absent", nil); err == nil || !strings.Contains(err.Error(), "/absent") {
		t.Errorf("submit a form that the page does not have: got error %v, want one with its path", err)
	}
	if err := b.Submit(t.Context(), "/save", url.Values{"typed": {"new"}}); err != nil {
		t.Fatal(err)
	}
	want := url.Values{"kept": {"1"}, "typed": {"new"}, "on": {"on"}, "pick": {"b"}, "text": {"lines"}, "choice": {"y"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
	if path, err := b.Path(); err != nil || path != "/saved" {
		t.Errorf("path: got %s, error %v, want /saved", path, err)
	}
	if !b.Contains("all is saved") {
		t.Errorf("page: got %q, want the saved page", b.Text())
	}
	if err := b.Follow(t.Context(), "/other"); err == nil {
		t.Error("follow a link that the page does not have: got no error, want one")
	}
	if err := b.Tab().Visit(t.Context(), "/absent"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("visit a page that does not exist: got error %v, want one with 404", err)
	}
}

// An environment starts, links an account, protects its registry, and removes its files.
func TestEnv(t *testing.T) {
	if _, err := sample.Busybox(); errors.Is(err, sample.ErrNoBusybox) {
		t.Skip("SKIPPED: ", err)
	}
	ctx := t.Context()
	env, err := localenv.Start(ctx, localenv.Options{RegistryPassword: secret.New("open sesame")})
	if err != nil {
		t.Fatal(err)
	}
	defer env.Close()
	b, err := env.SignInAndLink(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := env.AddRegistry(ctx, b); err != nil || !b.Contains("The registry accepts the credential") {
		t.Errorf("store a registry credential: %v: %s", err, b.Text())
	}
	checkRegistryLogin(t, env)
	p, err := env.NewProject(ctx, "small", map[string]string{"Dockerfile": "FROM scratch\n"})
	if err != nil {
		t.Fatal(err)
	}
	branch := localenv.Rule{Type: "branch", Source: "main", Tags: "latest"}
	tag := localenv.Rule{Type: "tag", Source: "/^v/", Tags: "{sourceref}"}
	if err := p.Automate(ctx, b, branch, tag); err != nil {
		t.Fatal(err)
	}
	if hooks := p.Repository.Hooks(); len(hooks) != 1 || !strings.HasPrefix(hooks[0].URL, env.Gateway.URL) {
		t.Errorf("webhooks: got %+v, want one of the gateway", hooks)
	}
	if builds, err := p.Builds(ctx); err != nil || len(builds) != 0 {
		t.Errorf("builds: got %v, error %v, want none: rules apply to later pushes", builds, err)
	}
	if err := env.Gateway.Kill(); err == nil {
		t.Error("kill a gateway in this process: got no error, want one")
	}
	env.Close()
	if _, err := os.Stat(env.Dir); !os.IsNotExist(err) {
		t.Errorf("directory after Close: got %s, want none: %v", env.Dir, err)
	}
}

func checkRegistryLogin(t *testing.T, env *localenv.Env) {
	t.Helper()
	image := env.Image() + ":copy"
	if err := env.SeedImage(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	img, digest, err := env.Pull(t.Context(), image)
	if err != nil || !strings.HasPrefix(digest, "sha256:") {
		t.Fatalf("pull: got digest %q, error %v, want a digest", digest, err)
	}
	if _, err := localenv.ReadFile(img, "bin/busybox"); err != nil {
		t.Error(err)
	}
	if _, err := localenv.ReadFile(img, "absent"); err == nil {
		t.Error("read a file that the image does not have: got no error, want one")
	}
	ref, err := name.ParseReference(image, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Image(ref, remote.WithContext(t.Context())); err == nil {
		t.Error("pull without a login: got no error, want one")
	}
}

func TestStationError(t *testing.T) {
	cause := errors.New("no room")
	err := localenv.At("registry", cause)
	var s *localenv.StationError
	if !errors.As(err, &s) {
		t.Fatalf("error: got %T, want a StationError", err)
	}
	if s.Station != "registry" {
		t.Errorf("station: got %q, want registry", s.Station)
	}
	if !errors.Is(err, cause) {
		t.Errorf("error: got %v, want it to wrap %v", err, cause)
	}
	if err.Error() != "registry: no room" {
		t.Errorf("error: got %q, want registry: no room", err)
	}
	if localenv.At("registry", nil) != nil {
		t.Error("At without an error: got an error, want nil")
	}
}

func TestProcesses(t *testing.T) {
	all, err := localenv.Processes()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(p localenv.Process) bool { return p.ID == os.Getpid() })
	if i < 0 {
		t.Fatalf("processes: got %d without this one, want this one among them", len(all))
	}
	if !slices.Equal(all[i].Args, os.Args) {
		t.Errorf("arguments: got %q, want %q", all[i].Args, os.Args)
	}
	if all[i].Dir != dir {
		t.Errorf("directory: got %s, want %s", all[i].Dir, dir)
	}
}
