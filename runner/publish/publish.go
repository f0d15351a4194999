// Package publish builds an image, sends it to its repositories and points its tags at it. Attempts
// under a gateway and steps without one use it.
package publish

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/cenkalti/backoff/v5"

	"slipway/config/identity"
	"slipway/runner/buildkit"
	"slipway/runner/buildlog"
	"slipway/runner/registry"
	"slipway/runner/sandbox"
)

// A Builder builds and pushes images; *buildkit.Client is one.
type Builder interface {
	// Build builds an image. It returns a *buildkit.BuildError if the Dockerfile is the cause, and
	// ctx's cause if ctx ended.
	Build(ctx context.Context, r buildkit.Request) (buildkit.Image, error)
	// Push sends the blobs and the manifest of a digest that Build returned. It moves no tag.
	// Repeating it is cheap.
	Push(ctx context.Context, r buildkit.Request, digest string) error
	Close() error
}

// Dial connects to the builder at an address. id identifies the client to it.
func Dial(ctx context.Context, address string, id identity.Identity) (Builder, error) {
	client, err := buildkit.Dial(ctx, address, id)
	if err != nil {
		return nil, err
	}
	return client, nil
}

// DialThrough connects to the builder whose connections a function opens.
func DialThrough(ctx context.Context, open func(ctx context.Context) (net.Conn, error)) (Builder, error) {
	client, err := buildkit.DialThrough(ctx, open)
	if err != nil {
		return nil, err
	}
	return client, nil
}

// Build builds an image. If the Dockerfile is the cause of a failure, it logs the place in it.
func Build(ctx context.Context, b Builder, r buildkit.Request, log buildlog.Log) (buildkit.Image, error) {
	image, err := b.Build(ctx, r)
	var failed *buildkit.BuildError
	if errors.As(err, &failed) && failed.Excerpt != "" {
		log.Line("%s", failed.Excerpt)
	}
	return image, err
}

// ExplainKilled sets the reason of a build error if SIGKILL ended a command in a builder that this process
// has started. It leaves other errors as they are.
func ExplainKilled(err error) {
	var failed *buildkit.BuildError
	if errors.As(err, &failed) && failed.OutOfMemory() && failed.Limit == "" {
		failed.Reason = sandbox.KilledHint()
	}
}

// RegistryOptions configure NewRegistryClient.
type RegistryOptions struct {
	Version string          // of this program
	Backoff backoff.BackOff // nil = the client's own
	Guard   registry.Guard  // nil = no check of addresses
	// Transport sends the requests; nil = the client's own.
	Transport http.RoundTripper
	Certs     string       // directory of registries' certificates; empty = registry.CertsDir
	Log       buildlog.Log // receives each retry
}

// NewRegistryClient returns a client that logs each retry.
func NewRegistryClient(o RegistryOptions) *registry.Client {
	return registry.New(registry.Options{
		UserAgent: "slipway/" + o.Version,
		Backoff:   o.Backoff,
		Guard:     o.Guard,
		Certs:     o.Certs,
		Transport: o.Transport,
		OnRetry:   o.Log.Attempt,
	})
}

// NewBackoff calls the constructor of a backoff. Without a constructor it returns nil, so that each package
// uses its own backoff.
func NewBackoff(constructor func() backoff.BackOff) backoff.BackOff {
	if constructor == nil {
		return nil
	}
	return constructor()
}

// ManifestOf returns the manifest of a built image.
func ManifestOf(i buildkit.Image) registry.Manifest {
	return registry.Manifest{Digest: i.Digest, Bytes: i.Manifest}
}

// Digest returns the digest that a tag points at; empty = the registry has no such tag.
func Digest(ctx context.Context, c *registry.Client, t Tag) (string, error) {
	digest, err := c.Digest(ctx, t.Image, t.Name, t.Login)
	if errors.Is(err, registry.ErrNotFound) {
		return "", nil
	}
	return digest, err
}

// A Repository is one place that an image is sent to.
type Repository struct {
	Image string // registry/name without a tag
	// Account is the same for repositories that one login on one registry opens. Such a registry can
	// mount the blobs of an image from one repository in the next.
	Account string
}

// Upload sends an image to every repository, and to each registry once. The function send receives, as
// mountFrom, the repository of the same account that already has the image, or "". An error of one
// repository does not stop the others, but the end of ctx does.
func Upload(
	ctx context.Context,
	repositories []Repository,
	send func(ctx context.Context, image, mountFrom string) error,
) error {
	var problems []error
	first := map[string]string{} // the repository that has the image, by account
	for _, r := range repositories {
		if err := send(ctx, r.Image, first[r.Account]); err != nil {
			if ctx.Err() != nil {
				return err
			}
			problems = append(problems, err)
			continue
		}
		if first[r.Account] == "" {
			first[r.Account] = r.Image
		}
	}
	if n := len(repositories); problems != nil && n > 1 {
		return fmt.Errorf(
			"no tag was moved: %d of %d repositories did not get the image: %w",
			len(problems),
			n,
			errors.Join(problems...),
		)
	}
	return errors.Join(problems...)
}
