package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/runner/spec"
)

// Spec says what the runner of an attempt is to build, with the image's registry credential and
// the environment. The linked account's token is not part of it: runners fetch through the git
// proxy. The source's address is the provider's by configuration, and the commit is the build's,
// wherever its branch has moved since.
func (d *Dispatcher) Spec(ctx context.Context, a autobuild.Attempt) (spec.Spec, error) {
	b, err := d.o.Store.Build(ctx, a.BuildID)
	if err != nil {
		return spec.Spec{}, fmt.Errorf("load build: %w", err)
	}
	owner, err := d.o.Store.AutomatedBuild(ctx, b.AutomatedBuildID)
	if err != nil {
		return spec.Spec{}, fmt.Errorf("load automated build of %d: %w", b.Number, err)
	}
	cloneURL, err := d.cloneURL(ctx, owner.AccountID, b.Repository)
	if err != nil {
		return spec.Spec{}, fmt.Errorf("find the repository of build %d: %w", b.Number, err)
	}
	registries, err := d.registriesOf(ctx, b)
	if err != nil {
		return spec.Spec{}, err
	}
	digest, err := d.builtBefore(ctx, a)
	if err != nil {
		return spec.Spec{}, err
	}
	s := specOf(b, a, cloneURL)
	s.Registries, s.BuiltDigest, s.Environment = registries, digest, owner.Environment
	s.BuilderTLS = d.BuilderTLS(a.Engine)
	s.Timeout = max(a.Deadline.Sub(d.o.Now()), time.Second)
	return s, nil
}

// BuilderTLS is who an engine's runners are to their builder; zero = nobody.
func (d *Dispatcher) BuilderTLS(engine string) secret.Secret { return d.o.Engines[engine].BuilderTLS }

// specOf is what a build says of itself.
func specOf(b autobuild.Build, a autobuild.Attempt, cloneURL string) spec.Spec {
	return spec.Spec{
		BuildID: b.ID, Number: b.Number, Attempt: a.Number, Repository: b.Repository.FullName,
		Source: spec.Source{
			URL: cloneURL, Ref: b.Ref.Full(), RefName: b.Ref.Name, Commit: b.Commit.Hash, Message: b.Commit.Message,
		},
		Image: b.Image, Tags: b.Tags, Dockerfile: b.Dockerfile, Context: b.Context,
		BuildArgs: b.BuildArgs, Platforms: b.Platforms, Caching: b.Caching, Publish: b.Publish,
	}
}

// cloneURL returns the repository's address. ErrUnauthorized = the link of its account is broken,
// so that a fetch could not work.
func (d *Dispatcher) cloneURL(ctx context.Context, accountID string, r autobuild.Repository) (string, error) {
	connection, err := d.o.Connector.Connect(ctx, accountID)
	if err != nil {
		return "", err
	}
	return connection.Git.CloneURL(r)
}

// registriesOf returns the credential of the image's registry. A build gets no other one: its
// Dockerfile is the repository's and could use what it is given.
func (d *Dispatcher) registriesOf(ctx context.Context, b autobuild.Build) ([]spec.RegistryCredential, error) {
	r, err := d.o.Store.RegistryFor(ctx, b.Image)
	if errors.Is(err, autobuild.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find registry of %s: %w", b.Image, err)
	}
	return []spec.RegistryCredential{{
		Host: r.Host, Insecure: r.Insecure, Credential: spec.Credential{Username: r.Username, Password: r.Password},
	}}, nil
}

// builtBefore returns what the newest earlier attempt reported as built. Its tags may have been
// pushed before it died.
func (d *Dispatcher) builtBefore(ctx context.Context, a autobuild.Attempt) (string, error) {
	attempts, err := d.o.Store.Attempts(ctx, a.BuildID)
	if err != nil {
		return "", fmt.Errorf("list attempts: %w", err)
	}
	digest := ""
	for _, earlier := range attempts {
		if earlier.Number < a.Number && earlier.Digest != "" {
			digest = earlier.Digest
		}
	}
	return digest, nil
}
