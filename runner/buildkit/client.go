// Package buildkit is the client of a BuildKit server (0.12 or newer, or slipway builder): it builds
// Dockerfiles and pushes images. Package sandbox starts a server on this machine.
package buildkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
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
	_ "github.com/moby/buildkit/util/grpcutil/encoding/proto" // reset a message before RecvMsg uses it again
	"google.golang.org/grpc"
	transport "google.golang.org/grpc/credentials"

	"slipway/config/identity"
	"slipway/config/safe"
	"slipway/runner/hints"
	"slipway/runner/registry"
	"slipway/runner/spec"
)

// abandonAfter is the time that a canceled call waits for the server's response.
const abandonAfter = 500 * time.Millisecond

// A Client builds and pushes on one builder. While the client is open, the builder does not stop for
// being idle. A Client is safe for concurrent use.
type Client struct {
	bk   *client.Client
	hold context.CancelFunc // ends the call that keeps the builder from being idle

	fresh bool // the builder receives each context into an empty directory
}

// A Request describes a build. Context and Dockerfile are paths on disk. Symbolic links out of their
// directories are not followed.
type Request struct {
	Context    string            // directory of the build context
	Dockerfile string            // file, inside or outside of Context
	Target     string            // stage to stop at; empty = the last
	BuildArgs  map[string]string // values of ARG instructions by name
	Platforms  []string          // linux/amd64, …; empty = the builder's own
	NoCache    bool              // run every step again
	Check      bool              // check the Dockerfile's rules, and build nothing
	NoExport   bool              // only run the steps: make no image, so that no layer is compressed
	Image      string            // registry/name without a tag; Push and Publish need it

	// Publish makes the builder push the image by its digest, if it can. Without Whole, the builder
	// keeps no record of the build.
	Publish bool
	Tag     string // with Publish: tag that the builder moves to the image after the push; may be empty
	Whole   bool   // with Publish: keep all layers in the builder, so that Push can follow

	Registries []spec.RegistryCredential // each is used only for its own host
	Certs      string                    // directory of registries' certificates; empty = registry.CertsDir
	Progress   io.Writer                 // receives plain lines; nil = discard
	SharedKey  string                    // the same for builds of one repository; part of the key of sent files
	Options    spec.BuildOptions         // further options of the build
	Guard      registry.Guard            // checks Push's requests to the registry; nil = no check
	MountFrom  string                    // repository to which Push has pushed the same image before; may be empty
}

// An Image is the result of a build.
type Image struct {
	Digest   string // digest of the manifest: sha256:…
	Manifest []byte // manifest or index; nil = unknown
	Size     int64  // compressed size of the config and all layers, in bytes; 0 = unknown
	Steps    int    // number of the Dockerfile's steps
	Cached   int    // number of those steps that came from the cache
	Ran      []hints.Step
	Pushed   bool // the builder has pushed the image to the registry in the image's name
}

// RegistryManifest returns the manifest for package registry. Its bytes are nil if they are unknown.
func (i Image) RegistryManifest() registry.Manifest {
	return registry.Manifest{Digest: i.Digest, Bytes: i.Manifest}
}

// Dial connects to a builder. It fails if the builder does not answer before ctx ends, or if its
// version is known to be unsafe. id is the client's identity; it may be zero for a builder on this
// machine. The error may wrap identity.ErrNeeded.
func Dial(ctx context.Context, address string, id identity.Identity) (*Client, error) {
	if err := identity.CheckAddress(address, id); err != nil {
		return nil, fmt.Errorf("dial builder at %s: %w", address, err)
	}
	var options []client.ClientOpt
	if identity.Encrypts(address, id) {
		tls := grpc.WithTransportCredentials(transport.NewTLS(id.Client()))
		options = append(options, client.WithGRPCDialOption(tls))
	}
	hint := ""
	if id.IsZero() && strings.HasPrefix(address, "tcp:") {
		hint = " (no client certificate was sent, and a builder on TCP usually requires one)"
	}
	return dial(ctx, target{address: address, name: "builder at " + address, hint: hint}, options...)
}

// DialThrough is like Dial for a builder whose connections a function opens. The function may be
// called again if a connection breaks.
func DialThrough(ctx context.Context, open func(ctx context.Context) (net.Conn, error)) (*Client, error) {
	// gRPC bounds each connection to 20 s. The first one may start the builder, which can take longer.
	conn, err := open(ctx)
	if err != nil {
		return nil, fmt.Errorf("dial the builder: %w", err)
	}
	first := make(chan net.Conn, 1)
	first <- conn
	dialer := func(ctx context.Context, _ string) (net.Conn, error) {
		select {
		case conn := <-first:
			return conn, nil
		default:
			return open(ctx)
		}
	}
	unused := "unix:///builder" // gRPC requires an address, and errors must not show it
	c, err := dial(ctx, target{address: unused, name: "the builder"}, client.WithContextDialer(dialer))
	select {
	case conn := <-first: // gRPC did not use it
		_ = conn.Close() // nothing was sent
	default:
	}
	return c, err
}

// A target describes a builder.
type target struct {
	address string
	name    string // in errors, for example "builder at tcp://builder.example.com:9443"
	hint    string // follows the words "does not answer" of an error
}

// dial connects to a builder.
func dial(ctx context.Context, to target, options ...client.ClientOpt) (*Client, error) {
	bk, err := client.New(ctx, to.address, options...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", to.name, err)
	}
	info, err := bk.Info(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s does not answer%s: %w", to.name, to.hint, err), bk.Close())
	}
	if err := checkVersion(info.BuildkitVersion.Version); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", to.name, err), bk.Close())
	}
	// An open call keeps the server from becoming idle between Build and Push.
	life, hold := context.WithCancel(context.Background())
	events, err := bk.ControlClient().ListenBuildHistory(life, &controlapi.BuildHistoryRequest{ActiveOnly: true})
	if err != nil {
		hold()
		return nil, errors.Join(fmt.Errorf("%s: %w", to.name, err), bk.Close())
	}
	go func() {
		for err := error(nil); err == nil; {
			_, err = events.Recv()
		}
	}()
	return &Client{bk: bk, hold: hold, fresh: info.BuildkitVersion.Package == ServerPackage}, nil
}

// Close closes the connection. Running builds on it fail.
func (c *Client) Close() error {
	c.hold()
	return c.bk.Close()
}

// Build builds the image into the builder's store. It pushes the image only with r.Publish. It returns
// a *BuildError if the Dockerfile is the cause, and ctx's cause within a second after ctx has ended.
// Any other error is one of the infrastructure, for example of the network.
func (c *Client) Build(ctx context.Context, r Request) (Image, error) {
	if err := r.check(); err != nil {
		return Image{}, err
	}
	build := c.build
	switch {
	case r.Check:
		build = c.check
	case r.Publish:
		build = c.publish
	}
	image, err := build(ctx, r)
	if err != nil {
		return Image{}, err
	}
	return image, nil
}

// build builds the image. The fields Steps, Cached and Ran are valid also with an error.
func (c *Client) build(ctx context.Context, r Request) (image Image, err error) {
	solving, cancel := context.WithCancel(ctx)
	defer cancel()
	sent, err := r.openDirs(cancel)
	if err != nil {
		return Image{}, fmt.Errorf("build: %w", err)
	}
	if name := sent[ContextName].UnusedIgnoreFile(r.Dockerfile); name != "" {
		r.logLine("note: %s has no effect: it is a link out of its directory or to no file", name)
	}
	options, err := r.solveOptions(sent)
	if err != nil {
		return Image{}, fmt.Errorf("build: %w", err)
	}
	options.SharedKey = c.sharedKey(ctx, r)
	out := newProgress(r.Progress)
	response, err := c.solve(solving, r, options, out)
	image.Steps, image.Cached = out.steps()
	image.Ran = out.ran()
	if err != nil || sent.unread() != nil {
		return image, c.explain(ctx, r, err, sent, out)
	}
	if r.NoExport {
		return image, nil
	}
	image.Digest = response.ExporterResponse[exptypes.ExporterImageDigestKey]
	image.Manifest, image.Size, err = reader(c.store(ctx).small).withRegistryFallback(ctx, r).measure(image.Digest)
	switch {
	case err == nil:
	case !r.pushedByBuilder() || ctx.Err() != nil:
		return image, classify(ctx, fmt.Errorf("size of image %s: %w", image.Digest, err), "")
	default: // the image is already pushed; a real problem there appears when a tag is moved
		r.logLine("the size of the image is not known: %s", plainMessage(err))
	}
	return image, nil
}

// logLine writes a line to the log.
func (r Request) logLine(format string, args ...any) {
	if r.Progress != nil {
		_, _ = fmt.Fprintf(r.Progress, format+"\n", args...) // a lost log line does not fail the build
	}
}

// solve runs a build.
func (c *Client) solve(
	ctx context.Context,
	r Request,
	options client.SolveOpt,
	out *progress,
) (*client.SolveResponse, error) {
	return c.run(ctx, out, func() (*client.SolveResponse, error) { return c.start(ctx, r, options, out.status) })
}

// run calls start, which sends its progress to out.status. It returns at most abandonAfter after ctx has
// ended, while BuildKit's client would wait for the server's last messages for seconds.
func (c *Client) run(
	ctx context.Context,
	out *progress,
	start func() (*client.SolveResponse, error),
) (*client.SolveResponse, error) {
	defer out.close()
	type result struct {
		response *client.SolveResponse
		err      error
	}
	done := make(chan result, 1)
	displayed := make(chan struct{})
	go func() {
		defer close(displayed)
		if safe.Do(func() error { out.display(); return nil }) != nil {
			out.drain() // the log is incomplete; the build, which may push, must go on
		}
	}()
	go func() {
		response, err := start()
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

// materialize runs the Dockerfile frontend and then reads a file of each result. So BuildKit also
// fetches the layers of a base image that no step needs. Otherwise it would leave them in their
// registry, and Push could not read them.
func (r Request) materialize(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
	result, err := runFrontend(ctx, c, r.Platforms, true)
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

// check reports a missing context or Dockerfile. BuildKit would only report a broken transfer.
func (r Request) check() error {
	if info, err := os.Stat(r.Context); err != nil || !info.IsDir() {
		return &BuildError{
			Err: fmt.Errorf("no build context directory %s in the repository", filepath.Base(r.Context)),
		}
	}
	info, err := os.Lstat(r.Dockerfile)
	if errors.Is(err, os.ErrNotExist) {
		return &BuildError{Err: fmt.Errorf("no Dockerfile %s in the repository", r.dockerfileName())}
	}
	if err == nil && info.IsDir() {
		return &BuildError{Err: fmt.Errorf("the Dockerfile %s is a directory", r.dockerfileName())}
	}
	return nil
}

// dockerfileName returns the Dockerfile's path for messages: relative to the context if it is inside,
// else only the file name.
func (r Request) dockerfileName() string {
	inside, err := filepath.Rel(r.Context, r.Dockerfile)
	if err != nil || strings.HasPrefix(inside, "..") {
		return filepath.Base(r.Dockerfile)
	}
	return inside
}

// solveOptions returns the options of a build for BuildKit.
// https://docs.docker.com/build/exporters/image-registry/
func (r Request) solveOptions(sent dirs) (client.SolveOpt, error) {
	attached, err := r.attachables()
	if err != nil {
		return client.SolveOpt{}, err
	}
	return client.SolveOpt{
		FrontendAttrs: r.frontendAttrs(),
		LocalMounts:   sent.mounts(),
		Session:       attached,

		AllowedEntitlements: r.Options.Allow,
		CacheImports:        cacheEntries(r.Options.CacheFrom),
		CacheExports:        cacheEntries(r.Options.CacheTo),
		Exports:             r.exports(),
		Internal:            r.pushedByBuilder() || r.NoExport,
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
	if len(r.Options.NoCacheStages) > 0 {
		attrs["no-cache"] = strings.Join(r.Options.NoCacheStages, ",")
	}
	if r.NoCache { // an empty value means all stages
		attrs["no-cache"] = ""
	}
	maps.Copy(attrs, optionAttrs(r.Options))
	return attrs
}
