package runner

import (
	"context"
	"errors"
	"io"

	"slipway/config/identity"
	"slipway/runner/buildkit"
	"slipway/runner/hints"
	"slipway/runner/registry"
	"slipway/runner/spec"
)

// An ImageRequest says what to build; paths are real and lie in the source tree.
type ImageRequest struct {
	Context    string
	Dockerfile string
	Target     string // stage to stop at; empty = the last
	BuildArgs  map[string]string
	Platforms  []string
	NoCache    bool
	Image      string
	Publish    bool   // the builder may push the image while it builds, by its digest; without Whole it keeps no record of the build
	Tag        string // with Publish: the builder points it at the image, too; may be empty
	Whole      bool   // with Publish: Push may follow, and finds layers that the registry had already, too
	Registries []spec.RegistryCredential
	Progress   io.Writer
	SharedKey  string // the same for builds of one repository
	Options    spec.BuildOptions
	MountFrom  string // where on Image's registry Push put the same image before; may be empty
}

// An Image is what a build came to.
type Image struct {
	Digest        string
	Manifest      []byte // or the index; nil = not known
	Size          int64  // bytes, compressed; 0 = not known
	Steps, Cached int
	Ran           []hints.Step // of the Dockerfile, in no order
	Pushed        bool         // by the builder, to the registry that it finds by the image's name
}

func (i Image) manifest() registry.Manifest {
	return registry.Manifest{Digest: i.Digest, Bytes: i.Manifest}
}

// A DockerfileError is a failure that the Dockerfile is to blame for.
type DockerfileError struct {
	Excerpt string // the place in the Dockerfile; may be empty
	OOM     bool   // a command was killed, as the kernel does when memory is short
	Err     error
}

func (e *DockerfileError) Error() string { return e.Err.Error() }

// Unwrap returns the builder's error.
func (e *DockerfileError) Unwrap() error { return e.Err }

// A Builder builds and pushes images. Errors are *DockerfileError where the Dockerfile is to
// blame, ctx's cause where that ended it, and the surroundings' otherwise.
type Builder interface {
	Build(ctx context.Context, r ImageRequest) (Image, error)
	// Push sends the blobs and the manifest of a digest that Build returned; no tag moves.
	// Repeating it is cheap.
	Push(ctx context.Context, r ImageRequest, digest string) error
	Close() error
}

// buildImage builds, and shows in the log the place in the Dockerfile that is to blame.
func buildImage(ctx context.Context, b Builder, r ImageRequest, log logger) (Image, error) {
	image, err := b.Build(ctx, r)
	var blame *DockerfileError
	if errors.As(err, &blame) && blame.Excerpt != "" {
		log.line("%s", blame.Excerpt)
	}
	return image, err
}

// killed is the exit code of a command that was killed by SIGKILL.
const killed = 128 + 9

// DialBuilder connects to the builder at an address, as whom it takes for its client.
func DialBuilder(ctx context.Context, address string, who identity.Identity) (Builder, error) {
	client, err := buildkit.Dial(ctx, address, who)
	if err != nil {
		return nil, err
	}
	return builderClient{client}, nil
}

// builderClient is package buildkit's client as a Builder.
type builderClient struct{ client *buildkit.Client }

var _ Builder = builderClient{}

func (b builderClient) Build(ctx context.Context, r ImageRequest) (Image, error) {
	image, err := b.client.Build(ctx, buildkit.Request(r))
	var blame *buildkit.BuildError
	if errors.As(err, &blame) {
		err = &DockerfileError{Excerpt: blame.Excerpt, OOM: blame.ExitCode == killed, Err: blame}
	}
	return Image(image), err
}

func (b builderClient) Push(ctx context.Context, r ImageRequest, digest string) error {
	return b.client.Push(ctx, buildkit.Request(r), digest)
}

func (b builderClient) Close() error { return b.client.Close() }
