// Package builder is what is needed of a BuildKit (0.12 or newer, or our own in package server)
// from outside: a client that builds a Dockerfile and pushes the image, a server's start in
// namespaces of its own, and what shows beforehand whether and how one can run here. BuildKit's
// server itself is not in it: a step that has a builder elsewhere starts in half the time without.
package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client"
	_ "github.com/moby/buildkit/client/connhelper/dockercontainer" // docker-container://
	_ "github.com/moby/buildkit/client/connhelper/kubepod"         // kube-pod://
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	_ "github.com/moby/buildkit/util/grpcutil/encoding/proto" // as buildctl has it; a message that is used again is to be reset before RecvMsg
	"github.com/tonistiigi/fsutil"
	"google.golang.org/grpc"
	transport "google.golang.org/grpc/credentials"

	"slipway/config/identity"
	"slipway/runner/hints"
	"slipway/runner/spec"
)

// abandonAfter is how long a cancelled call waits for the server to take note.
const abandonAfter = 500 * time.Millisecond

// ContextName is what Dockerfile frontends call the build context.
const ContextName = "context"

// A Client builds and pushes on one builder, which stays up as long as the client is
// open. It is safe for concurrent use.
type Client struct {
	bk   *client.Client
	hold context.CancelFunc
}

// A Request says what to build. Context and Dockerfile are paths on disk; what lies
// behind a symbolic link out of their directories is not sent.
type Request struct {
	Context    string            // directory
	Dockerfile string            // file, inside or outside of Context
	Target     string            // stage to stop at; empty = the last
	BuildArgs  map[string]string // of ARG instructions
	Platforms  []string          // linux/amd64, …; empty = the builder's own
	NoCache    bool              // run every step again
	Image      string            // registry/name without a tag; Push and Publish need it
	Publish    bool              // the builder itself pushes the image, if it can, by its digest; without Whole it keeps no record of the build
	Tag        string            // with Publish: the builder points it at the image, once all else is there; may be empty
	Whole      bool              // with Publish: Push may follow, and finds layers that the registry had already, too

	Registries []spec.RegistryCredential // each is used for its own host only
	Progress   io.Writer                 // plain lines; nil = none
	SharedKey  string                    // the same for builds of one repository: only changed files are sent
	Options    spec.BuildOptions         // what else the build asks for
	MountFrom  string                    // another repository, where Push put the same image before; may be empty
}

// An Image is what a build came to.
type Image struct {
	Digest   string // of the manifest: sha256:…
	Manifest []byte // or the index; nil = not known
	Size     int64  // bytes, compressed, of all layers and the config; 0 = not known
	Steps    int    // of the Dockerfile
	Cached   int    // of those, taken from the cache
	Ran      []hints.Step
	Pushed   bool // by the builder, to the registry that it finds by the image's name
}

// Dial connects to a builder and makes sure that it answers before ctx ends, and is none of
// the versions that are known to be unsafe. Who is the client; nobody may be it on this machine
// alone.
func Dial(ctx context.Context, address string, who identity.Identity) (*Client, error) {
	if err := identity.CheckAddress(address, who); err != nil {
		return nil, fmt.Errorf("dial builder at %s: %w", address, err)
	}
	var options []client.ClientOpt
	if identity.Encrypts(address, who) {
		options = append(options, client.WithGRPCDialOption(grpc.WithTransportCredentials(transport.NewTLS(who.Client()))))
	}
	bk, err := client.New(ctx, address, options...)
	if err != nil {
		return nil, fmt.Errorf("dial builder at %s: %w", address, err)
	}
	info, err := bk.Info(ctx)
	if err != nil {
		hint := ""
		if who.IsZero() && strings.HasPrefix(address, "tcp:") {
			hint = " (it was asked without a certificate, and one that has certificates answers nobody without)"
		}
		return nil, errors.Join(fmt.Errorf("builder at %s does not answer%s: %w", address, hint, err), bk.Close())
	}
	if err := checkVersion(info.BuildkitVersion.Version); err != nil {
		return nil, errors.Join(fmt.Errorf("builder at %s: %w", address, err), bk.Close())
	}
	// A call that stays open tells the server that it is needed between Build and Push.
	life, hold := context.WithCancel(context.Background())
	events, err := bk.ControlClient().ListenBuildHistory(life, &controlapi.BuildHistoryRequest{ActiveOnly: true})
	if err != nil {
		hold()
		return nil, errors.Join(fmt.Errorf("builder at %s: %w", address, err), bk.Close())
	}
	go func() {
		for err := error(nil); err == nil; {
			_, err = events.Recv()
		}
	}()
	return &Client{bk: bk, hold: hold}, nil
}

// Close ends the connection; builds under way on it fail.
func (c *Client) Close() error {
	c.hold()
	return c.bk.Close()
}

// Build builds the image into the builder's store, and pushes nothing but what r.Publish says.
// Errors: *BuildError when the Dockerfile is to blame, ctx's cause within a second of its end,
// any other when the surroundings are.
func (c *Client) Build(ctx context.Context, r Request) (Image, error) {
	if err := r.check(); err != nil {
		return Image{}, err
	}
	way := c.build
	if r.Publish {
		way = c.publish
	}
	image, err := way(ctx, r)
	if err != nil {
		return Image{}, err
	}
	return image, nil
}

// build builds the image. What it tells of the steps counts whatever the error.
func (c *Client) build(ctx context.Context, r Request) (image Image, err error) {
	options, err := r.solveOptions()
	if err != nil {
		return Image{}, fmt.Errorf("build: %w", err)
	}
	out := newProgress(r.Progress)
	response, err := c.solve(ctx, r, options, out)
	image.Steps, image.Cached = out.steps()
	image.Ran = out.ran()
	if err != nil {
		return image, classify(ctx, err, out.failedStep())
	}
	image.Digest = response.ExporterResponse[exptypes.ExporterImageDigestKey]
	image.Manifest, image.Size, err = reader(c.store(ctx).small).orOfRegistry(ctx, r).weigh(image.Digest)
	switch {
	case err == nil:
	case !r.pushedAtOnce() || ctx.Err() != nil:
		return image, classify(ctx, fmt.Errorf("size of image %s: %w", image.Digest, err), "")
	default: // it is pushed: what is amiss there shows when a tag is to move, or did not matter
		r.say("the size of the image is not known: %s", plainMessage(err))
	}
	return image, nil
}

// say writes a line of the log.
func (r Request) say(format string, args ...any) {
	if r.Progress != nil {
		_, _ = fmt.Fprintf(r.Progress, format+"\n", args...) // a log that cannot be written must not fail the build
	}
}

// solve runs a build and gives up waiting soon after ctx ends: BuildKit's client waits for
// the server's last words for seconds.
func (c *Client) solve(ctx context.Context, r Request, options client.SolveOpt, out *progress) (*client.SolveResponse, error) {
	defer out.close()
	type result struct {
		response *client.SolveResponse
		err      error
	}
	done := make(chan result, 1)
	displayed := make(chan struct{})
	go func() {
		defer close(displayed)
		out.display()
	}()
	go func() {
		response, err := c.start(ctx, r, options, out.status)
		done <- result{response, err}
	}()
	select {
	case r := <-done:
		<-displayed
		return r.response, r.err
	case <-ctx.Done():
	}
	select {
	case r := <-done:
		return r.response, r.err
	case <-time.After(abandonAfter):
		return nil, context.Cause(ctx)
	}
}

// materialize runs the Dockerfile frontend and then looks into each result, so that the
// layers of a base image that no step needed are fetched too: BuildKit leaves them at
// their registry otherwise, and Push could not read them.
func materialize(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
	result, err := c.Solve(ctx, gateway.SolveRequest{
		Frontend:    FrontendDockerfile,
		FrontendOpt: c.BuildOpts().Opts,
		Evaluate:    true,
	})
	if err != nil {
		return nil, err
	}
	refs := maps.Clone(result.Refs)
	if result.Ref != nil {
		refs = map[string]gateway.Reference{"": result.Ref}
	}
	for _, ref := range refs {
		if ref == nil {
			continue
		}
		if _, err := ref.StatFile(ctx, gateway.StatRequest{Path: "."}); err != nil {
			return nil, fmt.Errorf("fetch layers of the base image: %w", err)
		}
	}
	return result, nil
}

// check finds what BuildKit would only report as a broken transfer.
func (r Request) check() error {
	if info, err := os.Stat(r.Context); err != nil || !info.IsDir() {
		return &BuildError{Err: fmt.Errorf("there is no build context directory %s in the repository", filepath.Base(r.Context))}
	}
	info, err := os.Lstat(r.Dockerfile)
	if errors.Is(err, os.ErrNotExist) {
		return &BuildError{Err: fmt.Errorf("there is no Dockerfile %s in the repository", r.shownDockerfile())}
	}
	if err == nil && info.IsDir() {
		return &BuildError{Err: fmt.Errorf("the Dockerfile %s is a directory", r.shownDockerfile())}
	}
	return nil
}

// shownDockerfile is the path that people know: from the context where it lies inside.
func (r Request) shownDockerfile() string {
	inside, err := filepath.Rel(r.Context, r.Dockerfile)
	if err != nil || strings.HasPrefix(inside, "..") {
		return filepath.Base(r.Dockerfile)
	}
	return inside
}

// solveOptions are a build's attributes for BuildKit.
// https://docs.docker.com/build/exporters/image-registry/
func (r Request) solveOptions() (client.SolveOpt, error) {
	context, err := fsutil.NewFS(r.Context)
	if err != nil {
		return client.SolveOpt{}, fmt.Errorf("open context: %w", err)
	}
	dockerfile, err := fsutil.NewFS(filepath.Dir(r.Dockerfile))
	if err != nil {
		return client.SolveOpt{}, fmt.Errorf("open directory of the Dockerfile: %w", err)
	}
	attached, err := r.attachables()
	if err != nil {
		return client.SolveOpt{}, err
	}
	return client.SolveOpt{
		FrontendAttrs: r.frontendAttrs(),
		LocalMounts:   map[string]fsutil.FS{ContextName: inPackets{context}, "dockerfile": dockerfile},
		SharedKey:     r.SharedKey,
		Session:       attached,
		CacheImports:  cacheEntries(r.Options.CacheFrom),
		CacheExports:  cacheEntries(r.Options.CacheTo),
		Exports:       r.exports(),
		Internal:      r.pushedAtOnce(),
	}, nil
}

func (r Request) frontendAttrs() map[string]string {
	attrs := map[string]string{"filename": filepath.Base(r.Dockerfile)}
	for name, value := range r.BuildArgs {
		attrs["build-arg:"+name] = value
	}
	if r.Target != "" {
		attrs["target"] = r.Target
	}
	if len(r.Platforms) > 0 {
		attrs["platform"] = strings.Join(r.Platforms, ",")
	}
	if r.NoCache {
		attrs["no-cache"] = ""
	}
	maps.Copy(attrs, optionAttrs(r.Options))
	return attrs
}
