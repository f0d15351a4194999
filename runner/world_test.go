package runner_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/gin-gonic/gin"
	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/sirupsen/logrus"

	"slipway/config/identity"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/gitproxy"
	"slipway/plugin/logs"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
	"slipway/plugin/watcher"
	"slipway/plugin/web/api"
	"slipway/plugin/web/httpx"
	"slipway/runner"
	"slipway/runner/hints"
	"slipway/runner/registry"
	"slipway/runner/settings"
	"slipway/runner/source/sourcetest"
	"slipway/runner/spec"
)

// A world is a gateway's part that runners see, a repository and a registry, all real, and a
// builder that makes an image of the context's files without running anything.
type world struct {
	t        *testing.T
	git      *sourcetest.Remote
	account  *account
	registry *gate
	gateway  *gate
	store    *store.Store
	watcher  *watcher.Watcher
	logs     *logs.Logs
	builder  *maker
	hooks    bool
	logins   settings.StepLogins
	edit     func(*spec.Spec) // of what the gateway hands out
	owner    autobuild.AutomatedBuild
	head     string // what the ref was at before the next push

	statusTime time.Duration // of a step without a gateway; 0 = its own
}

func newWorld(t *testing.T) *world {
	t.Helper()
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	w := &world{t: t, git: sourcetest.New(t), store: storetest.Open(t), hooks: true, edit: func(*spec.Spec) {}}
	w.registry = newGate(t, ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	w.watcher = watcher.New(watcher.Options{Store: w.store, Log: quiet})
	w.logs = logs.New(logs.Options{Dir: t.TempDir()})
	gin.SetMode(gin.TestMode)
	engine := gin.New()
	engine.Use(httpx.Errors(quiet, api.WriteError))
	w.account = &account{url: w.git.URL + "/app/.git"}
	git := gitproxy.New(gitproxy.Options{
		Store: w.store, Connector: w.account, BaseURL: func(string) string { return w.gateway.URL }, Log: quiet,
	})
	t.Cleanup(git.Close)
	api.New(api.Options{Store: w.store, Watcher: w.watcher, Specs: w, Logs: w.logs, Git: git}).Mount(engine)
	w.gateway = newGate(t, engine)
	w.builder = &maker{}
	w.owner = storetest.AutomatedBuild(t, w.store, storetest.Repository("app"))
	return w
}

func (w *world) image() string { return strings.TrimPrefix(w.registry.URL, "http://") + "/acme/app" }

// BuilderTLS is nobody: what a step needs, w.edit gives it.
func (w *world) BuilderTLS(string) secret.Secret { return secret.Secret{} }

// Spec makes the world the gateway's api.Specs.
func (w *world) Spec(ctx context.Context, a autobuild.Attempt) (spec.Spec, error) {
	b, err := w.store.Build(ctx, a.BuildID)
	if err != nil {
		return spec.Spec{}, err
	}
	s := spec.Spec{
		BuildID:    b.ID,
		Number:     b.Number,
		Attempt:    a.Number,
		Repository: b.Repository.FullName,
		Source: spec.Source{
			URL:     w.git.URL + "/app/.git",
			Ref:     b.Ref.Full(),
			RefName: b.Ref.Name,
			Commit:  b.Commit.Hash,
			Message: b.Commit.Message,
		},
		Image:       w.image(),
		Tags:        tags(),
		Dockerfile:  "svc/Dockerfile",
		Context:     ".",
		Caching:     true,
		Publish:     true,
		Timeout:     time.Minute,
		Environment: map[string]secret.Secret{"NPM_TOKEN": secret.New("npm-canary")},
	}
	w.edit(&s)
	return s, nil
}

// An account is the linked account that the git proxy fetches with.
type account struct {
	url string
	err error // of its credential
}

// Connect returns the account, whatever the id.
func (a *account) Connect(context.Context, string) (autobuild.Connection, error) {
	return autobuild.Connection{Git: a}, nil
}

// CloneURL returns the one repository's address.
func (a *account) CloneURL(autobuild.Repository) (string, error) { return a.url, nil }

// GitCredential returns what the repository's server accepts.
func (a *account) GitCredential(context.Context, autobuild.Repository) (autobuild.GitCredential, error) {
	c := sourcetest.Credential()
	return autobuild.GitCredential{Username: c.Username, Password: c.Password}, a.err
}

// RenewGitCredential returns the same again.
func (a *account) RenewGitCredential(
	ctx context.Context,
	r autobuild.Repository,
	_ secret.Secret,
) (autobuild.GitCredential, error) {
	return a.GitCredential(ctx, r)
}

// tags are those of every build.
func tags() []string { return []string{"1.2", "1", "latest"} }

// push commits files and returns the build of that push, queued.
func (w *world) push(files map[string]string) autobuild.Build {
	w.t.Helper()
	commit := w.git.Commit(w.t, files)
	p := storetest.Push(w.owner, storetest.Main(), w.head, commit)
	p.Moves[0].Builds[0].Tags = tags() // a permit is for the tags of the stored build
	builds, err := w.store.Plan(w.t.Context(), p)
	if err != nil {
		w.t.Fatal(err)
	}
	w.head = commit
	return builds[0]
}

// start starts the build's next attempt and returns its token.
func (w *world) start(b autobuild.Build) string {
	w.t.Helper()
	token := "runner-token-" + rand.Text() // each attempt's own
	_, err := w.store.StartAttempt(
		w.t.Context(),
		b.ID,
		"embedded",
		autobuild.TokenHash(secret.New(token)),
		time.Now().Add(time.Hour),
		0,
	)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// run runs the build's next attempt to its end.
func (w *world) run(ctx context.Context, b autobuild.Build) error {
	w.t.Helper()
	return runner.Run(ctx, w.options(b, w.start(b)))
}

func (w *world) options(b autobuild.Build, token string) runner.Options {
	return runner.Options{
		Settings: settings.Settings{
			URL:     w.gateway.URL + "/runner/v1/builds/" + b.ID,
			Token:   secret.New(token),
			Builder: "unix:///of-the-world.sock",
			Hooks:   w.hooks,
			Workdir: w.t.TempDir(),
		},
		Version: "test", Environ: os.Environ(), Grace: 100 * time.Millisecond,
		Dial: func(context.Context, string, identity.Identity) (runner.Builder, error) {
			return w.builder, w.builder.dialError
		},
		Backoff: func() backoff.BackOff { return backoff.NewConstantBackOff(time.Millisecond) },
	}
}

// must runs the build and returns it as the gateway has it at the end.
func (w *world) must(b autobuild.Build, state autobuild.State, reason autobuild.Reason) autobuild.Build {
	w.t.Helper()
	err := w.run(w.t.Context(), b)
	return w.check(b, err, state, reason)
}

func (w *world) check(b autobuild.Build, err error, state autobuild.State, reason autobuild.Reason) autobuild.Build {
	w.t.Helper()
	var ended *runner.ResultError
	if (state == autobuild.Succeeded) != (err == nil) || (err != nil && !errors.As(err, &ended)) {
		w.t.Errorf("Run returned %v", err)
	}
	attempts, storeErr := w.store.Attempts(w.t.Context(), b.ID)
	if storeErr != nil {
		w.t.Fatal(storeErr)
	}
	if a := attempts[len(attempts)-1]; a.State != state || a.Reason != reason {
		w.t.Errorf("attempt ended %s (%s): %s; want %s (%s)\n%s", a.State, a.Reason, a.Detail, state, reason, w.log(b))
	}
	got, storeErr := w.store.Build(w.t.Context(), b.ID)
	if storeErr != nil {
		w.t.Fatal(storeErr)
	}
	return got
}

// log is the log of the build's newest attempt.
func (w *world) log(b autobuild.Build) string {
	w.t.Helper()
	attempts, err := w.store.Attempts(w.t.Context(), b.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := w.logs.Read(w.t.Context(), b.ID, len(attempts), 0, 1<<20)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// tag is where a tag points in the registry; empty = there is none.
func (w *world) tag(tag string) string {
	w.t.Helper()
	ref, err := name.NewTag(w.image() + ":" + tag)
	if err != nil {
		w.t.Fatal(err)
	}
	desc, err := remote.Head(ref)
	if err != nil {
		return ""
	}
	return desc.Digest.String()
}

// platforms lists those of a tag's index, each with its image's label arch.
func (w *world) platforms(tag string) string {
	w.t.Helper()
	ref, err := name.NewTag(w.image() + ":" + tag)
	if err != nil {
		w.t.Fatal(err)
	}
	index, err := remote.Index(ref)
	if err != nil {
		w.t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		w.t.Fatal(err)
	}
	var all []string
	for _, m := range manifest.Manifests {
		img, err := index.Image(m.Digest)
		if err != nil {
			w.t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, m.Platform.String()+"="+config.Config.Labels["arch"])
	}
	return strings.Join(all, " ")
}

// put puts an image made of text under a tag, behind the runner's back.
func (w *world) put(tag, text string) string {
	w.t.Helper()
	ref, err := name.NewTag(w.image() + ":" + tag)
	if err != nil {
		w.t.Fatal(err)
	}
	img := imageOf(text)
	if err := remote.Write(ref, img); err != nil {
		w.t.Fatal(err)
	}
	digest, _ := img.Digest()
	return digest.String()
}

// A maker is a runner.Builder without BuildKit.
type maker struct {
	buildError, pushError, dialError error
	inside                           func(ctx context.Context) error // called while building
	uploading                        func()                          // called once, while the first image is sent
	pushes                           func(digest string) error       // what it does where it may push itself; nil = it cannot
	opening                          func(ctx context.Context) error // called while a step connects; nil = nothing is
	sent                             int                             // images by Push
	requests                         []runner.ImageRequest
	mounted                          []string // where each push was told that the image is
	images                           map[string]v1.Image
	closed                           bool
	ran                              []hints.Step
}

func (b *maker) Build(ctx context.Context, r runner.ImageRequest) (runner.Image, error) {
	b.requests = append(b.requests, r)
	if _, err := io.WriteString(r.Progress, "#1 building\n"); err != nil {
		return runner.Image{}, err
	}
	if b.inside != nil {
		if err := b.inside(ctx); err != nil {
			return runner.Image{}, err
		}
	}
	if b.buildError != nil {
		return runner.Image{}, b.buildError
	}
	content, err := os.ReadFile(r.Dockerfile)
	if err != nil {
		return runner.Image{}, err
	}
	img := imageOf(string(content))
	digest, err := img.Digest()
	b.images = map[string]v1.Image{digest.String(): img}
	made := runner.Image{Digest: digest.String(), Size: 42, Steps: 3, Cached: 2, Ran: b.ran}
	if r.Publish && b.pushes != nil && err == nil {
		err, made.Pushed = b.pushes(made.Digest), true
	}
	return made, err
}

func (b *maker) Push(ctx context.Context, r runner.ImageRequest, digest string) error {
	if b.pushError != nil {
		return b.pushError
	}
	img := b.images[digest]
	b.sent++
	if act := b.uploading; act != nil {
		b.uploading = nil
		act()
	}
	b.mounted = append(b.mounted, r.MountFrom)
	uploads := registry.New(registry.Options{Backoff: backoff.NewConstantBackOff(time.Millisecond)})
	return uploads.Upload(ctx, r.Image, digest, img, registry.LoginFor(r.Image, r.Registries))
}

func (b *maker) Close() error {
	b.closed = true
	return nil
}

func imageOf(text string) v1.Image {
	img, err := mutate.Config(empty.Image, v1.Config{Labels: map[string]string{"text": text}})
	if err != nil {
		panic(err)
	}
	return img
}

// A gate is a server that a test may put something in front of.
type gate struct {
	*httptest.Server
	mu     sync.Mutex
	around func(w http.ResponseWriter, r *http.Request, next http.Handler)
}

func newGate(t *testing.T, next http.Handler) *gate {
	g := &gate{}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		around := g.around
		g.mu.Unlock()
		if around == nil {
			next.ServeHTTP(w, r)
			return
		}
		around(w, r, next)
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *gate) set(around func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.around = around
}

// hook is where a hook of svc/Dockerfile lies.
func hook(name string) string { return filepath.Join("svc/hooks", name) }
