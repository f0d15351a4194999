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

// A browser sends what a form holds, with what was typed in place of it.
func TestBrowserSubmits(t *testing.T) {
	const page = `<!doctype html><main><a href="/other">Other</a> <form method="post" action="/save">
		<input name="kept" value="1"><input name="typed" value="old"><input type="checkbox" name="on" checked><input type="checkbox" name="off">
		<input type="radio" name="pick" value="a"><input type="radio" name="pick" value="b" checked><textarea name="text">lines</textarea>
		<select name="choice"><option value="x">X</option><option value="y" selected>Y</option></select><input type="submit" name="button" value="go"></form></main>`
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
	mux.HandleFunc(
		"GET /saved",
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<p>all\n is <b>saved</b>") },
	)
	server := httptest.NewServer(mux)
	defer server.Close()
	b, err := localenv.NewBrowser()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Visit(t.Context(), "/form"); err == nil {
		t.Error("a path was visited before any site")
	}
	if err := b.Visit(t.Context(), server.URL+"/form"); err != nil {
		t.Fatal(err)
	}
	if !b.Has("typed") || b.Has("absent") {
		t.Error("the page's fields are not those it has")
	}
	if err := b.Submit(t.Context(), "/absent", nil); err == nil || !strings.Contains(err.Error(), "/absent") {
		t.Errorf("a form that is not there: %v", err)
	}
	if err := b.Submit(t.Context(), "/save", url.Values{"typed": {"new"}}); err != nil {
		t.Fatal(err)
	}
	want := url.Values{"kept": {"1"}, "typed": {"new"}, "on": {"on"}, "pick": {"b"}, "text": {"lines"}, "choice": {"y"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
	if path, err := b.Path(); err != nil || path != "/saved" || !b.Contains("all is saved") {
		t.Errorf("arrived at %s, %v: %s", path, err, b.Text())
	}
	if err := b.Follow(t.Context(), "/other"); err == nil {
		t.Error("a link was followed that is not on this page")
	}
	if err := b.Tab().Visit(t.Context(), "/absent"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a page that is not there: %v", err)
	}
}

// A world stands, lets somebody link an account, keeps its registry closed, and leaves nothing.
func TestWorld(t *testing.T) {
	if _, err := sample.Busybox(); errors.Is(err, sample.ErrNoBusybox) {
		t.Skip("SKIPPED: ", err)
	}
	ctx := t.Context()
	w, err := localenv.Start(ctx, localenv.Options{RegistryPassword: secret.New("open sesame")})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	b, err := w.SignInAndLink(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.AddRegistry(ctx, b); err != nil || !b.Contains("works") {
		t.Errorf("the registry's credential was not taken: %v: %s", err, b.Text())
	}
	closedToStrangers(t, w)
	p, err := w.NewProject(ctx, "small", map[string]string{"Dockerfile": "FROM scratch\n"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Automate(
		ctx,
		b,
		localenv.Rule{Type: "branch", Source: "main", Tags: "latest"},
		localenv.Rule{Type: "tag", Source: "/^v/", Tags: "{sourceref}"},
	); err != nil {
		t.Fatal(err)
	}
	if hooks := p.Repository.Hooks(); len(hooks) != 1 || !strings.HasPrefix(hooks[0].URL, w.Gateway.URL) {
		t.Errorf("webhooks %+v", hooks)
	}
	if builds, err := p.Builds(ctx); err != nil || len(builds) != 0 {
		t.Errorf("builds %v, %v: rules are not retroactive", builds, err)
	}
	if err := w.Gateway.Kill(); err == nil {
		t.Error("this very process was killed")
	}
	w.Close()
	if _, err := os.Stat(w.Dir); !os.IsNotExist(err) {
		t.Errorf("%s stays: %v", w.Dir, err)
	}
}

func closedToStrangers(t *testing.T, w *localenv.Env) {
	t.Helper()
	image := w.Image() + ":copy"
	if err := w.SeedImage(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	img, digest, err := w.Pull(t.Context(), image)
	if err != nil || !strings.HasPrefix(digest, "sha256:") {
		t.Fatalf("pull: %s, %v", digest, err)
	}
	if _, err := localenv.ReadFile(img, "bin/busybox"); err != nil {
		t.Error(err)
	}
	if _, err := localenv.ReadFile(img, "absent"); err == nil {
		t.Error("a file was read that is not there")
	}
	ref, err := name.ParseReference(image, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Image(ref, remote.WithContext(t.Context())); err == nil {
		t.Error("a stranger pulled the image")
	}
}

func TestStationError(t *testing.T) {
	cause := errors.New("no room")
	err := localenv.At("registry", cause)
	var s *localenv.StationError
	if !errors.As(err, &s) || s.Station != "registry" || !errors.Is(err, cause) || err.Error() != "registry: no room" {
		t.Errorf("err = %v", err)
	}
	if localenv.At("registry", nil) != nil {
		t.Error("success became an error")
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
	if i < 0 || !slices.Equal(all[i].Args, os.Args) || all[i].Dir != dir {
		t.Errorf("this process is not among them as it is: %d of %d", i, len(all))
	}
}
