package runnertest

import (
	"context"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"slipway/runner/buildkit"
	"slipway/runner/hints"
	"slipway/runner/registry"
)

// BuilderAddress is the address of the Builder in tests.
const BuilderAddress = "unix:///run/test/builder.sock"

// A Builder builds and pushes without BuildKit: it makes an image of the Dockerfile's text and runs
// nothing. Its fields configure more behavior. Nil functions are not called.
type Builder struct {
	BuildError error
	PushError  error
	DialError  error

	OnDial   func(ctx context.Context) error // called while the runner connects
	OnBuild  func(ctx context.Context) error // called during a build
	OnUpload func()                          // called once, during the first Push
	// Publish is called with the digest of a build that the builder may push itself. nil = it cannot.
	Publish func(digest string) error
	Ran     []hints.Step // steps in the result of each build
	// Transport sends the requests of Push to registries; nil = the client's own.
	Transport http.RoundTripper

	Requests []buildkit.Request
	Mounts   []string // the MountFrom of each Push
	Images   map[string]v1.Image
	Closed   bool

	t testing.TB
}

// NewBuilder makes a builder that builds everything.
func NewBuilder(t testing.TB) *Builder { return &Builder{t: t, Images: map[string]v1.Image{}} }

// Dial returns the builder's own error, if it has one.
func (b *Builder) Dial(ctx context.Context) error {
	if b.OnDial != nil {
		return b.OnDial(ctx)
	}
	return b.DialError
}

// Last returns the newest request.
func (b *Builder) Last() buildkit.Request { return b.Requests[len(b.Requests)-1] }

// Build makes an image of the Dockerfile's text.
func (b *Builder) Build(ctx context.Context, r buildkit.Request) (buildkit.Image, error) {
	b.Requests = append(b.Requests, r)
	if _, err := io.WriteString(r.Progress, "#1 building\n"); err != nil {
		return buildkit.Image{}, err
	}
	if b.OnBuild != nil {
		if err := b.OnBuild(ctx); err != nil {
			return buildkit.Image{}, err
		}
	}
	if b.BuildError != nil {
		return buildkit.Image{}, b.BuildError
	}
	content, err := os.ReadFile(r.Dockerfile)
	if err != nil {
		return buildkit.Image{}, err
	}
	img := imageOf(b.t, string(content))
	made := buildkit.Image{Digest: digestOf(b.t, img), Size: 42, Steps: 3, Cached: 2, Ran: b.Ran}
	if r.NoExport {
		made.Digest, made.Size = "", 0
	}
	b.Images = map[string]v1.Image{made.Digest: img}
	if r.Publish && b.Publish != nil {
		made.Pushed = true
		err = b.Publish(made.Digest)
	}
	return made, err
}

// Push uploads an image that Build made.
func (b *Builder) Push(ctx context.Context, r buildkit.Request, digest string) error {
	if b.PushError != nil {
		return b.PushError
	}
	img := b.Images[digest] // OnUpload may build another
	b.Mounts = append(b.Mounts, r.MountFrom)
	if act := b.OnUpload; act != nil {
		b.OnUpload = nil
		act()
	}
	client := registry.New(registry.Options{
		Backoff: NoBackoff(), Guard: r.Guard, Transport: b.Transport, Certs: r.Certs,
	})
	return client.Upload(ctx, r.Image, digest, img, registry.LoginFor(r.Image, r.Registries))
}

// Close notes that it was called.
func (b *Builder) Close() error {
	b.Closed = true
	return nil
}

// NoBackoff waits a millisecond between tries.
func NoBackoff() backoff.BackOff { return backoff.NewConstantBackOff(time.Millisecond) }
