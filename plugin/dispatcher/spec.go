package dispatcher

import (
	"context"
	"fmt"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/credentials"
	"slipway/plugin/rules"
	"slipway/runner/spec"
)

// Spec returns the work of an attempt for its runner, with the image's registry credential and the
// environment. It does not contain the token of the linked account, because runners fetch through
// the git proxy. The source's address comes from the provider's configuration. The commit is the
// build's, even if its branch has moved since.
//
// The build of a pull request gets neither: its code must not read private images, write an image or a
// cache in a registry, or print a secret. Docker Hub has the same rule for pull requests of forks. It
// gets no certificate for a builder either, because all builds with that certificate share a cache.
// https://docs.docker.com/docker-hub/repos/manage/builds/automated-testing/
func (d *Dispatcher) Spec(ctx context.Context, a autobuild.Attempt) (spec.Spec, error) {
	a, err := d.o.Store.Attempt(ctx, a.BuildID, a.Number) // the claim has changed its deadline
	if err != nil {
		return spec.Spec{}, fmt.Errorf("load attempt: %w", err)
	}
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
	registries, err := d.registriesOf(ctx, b, a.Engine)
	if err != nil {
		return spec.Spec{}, err
	}
	digest, err := d.previousDigest(ctx, a)
	if err != nil {
		return spec.Spec{}, err
	}
	s := specOf(b, a, cloneURL)
	s.BuiltDigest = digest
	s.HooksOff = d.hooksOff(owner)
	s.TestsOff = owner.TestsOff
	s.Timeout = max(a.Deadline.Sub(d.o.Now()), time.Second)
	if !rules.IsPullRequest(b) {
		s.Registries, s.Environment = registries, owner.Environment
		s.BuilderTLS, s.PushHooks = d.BuilderTLS(a.Engine), d.o.PushHooks
	}
	return s, nil
}

// hooksOff returns why the hooks of an automated build must not run; empty means that they may.
func (d *Dispatcher) hooksOff(a autobuild.AutomatedBuild) string {
	switch {
	case d.o.HooksOff:
		return "SLIPWAY_HOOKS=off at the gateway"
	case a.HooksOff:
		return "an option of the automated build"
	}
	return ""
}

// BuilderTLS returns the client certificate of an engine's runners for their builder. It is zero if
// they need none, and for an engine with runners in the repository (Engine.InRepository).
func (d *Dispatcher) BuilderTLS(engine string) secret.Secret {
	e := d.o.Engines[engine]
	if e.InRepository {
		return secret.Secret{}
	}
	return e.BuilderTLS
}

// specOf returns the part of the spec that comes from the build itself.
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

// cloneURL returns the repository's address. ErrUnauthorized means that the account's link is broken, so that
// a fetch would fail.
func (d *Dispatcher) cloneURL(ctx context.Context, accountID string, r autobuild.Repository) (string, error) {
	connection, err := d.o.Connector.Connect(ctx, accountID)
	if err != nil {
		return "", err
	}
	return connection.Git.CloneURL(r)
}

// registriesOf returns the registry credentials for the runner of a build: one to push its image, and
// pull-only ones for base images. The runner does not pass the first to the Dockerfile, which could
// read any image of the registry with it.
func (d *Dispatcher) registriesOf(
	ctx context.Context, b autobuild.Build, engine string,
) ([]spec.RegistryCredential, error) {
	stored, err := d.o.Store.Registries(ctx)
	if err != nil {
		return nil, fmt.Errorf("read registry credentials for %s: %w", b.Image, err)
	}
	e, known := d.o.Engines[engine]
	chosen := credentials.Choose(stored, credentials.Use{
		AutomatedBuildID: b.AutomatedBuildID, Image: b.Image,
		BoundOnly: e.InRepository || !known, // an engine that is not configured any more is not trusted
	})
	var all []spec.RegistryCredential
	if chosen.Push.ID != "" {
		all = append(all, credentialOf(chosen.Push))
	}
	for _, r := range chosen.Pull {
		all = append(all, credentialOf(r))
	}
	return all, nil
}

func credentialOf(r autobuild.Registry) spec.RegistryCredential {
	return spec.RegistryCredential{
		Host: r.Host, Insecure: r.Insecure, PullOnly: r.Purpose == autobuild.RegistryPull,
		Credential: spec.Credential{Username: r.Username, Password: r.Password},
	}
}

// previousDigest returns the image digest that the newest earlier attempt reported; empty means none. That
// attempt may have pushed tags before it ended. Spec.BuiltDigest describes the use.
func (d *Dispatcher) previousDigest(ctx context.Context, a autobuild.Attempt) (string, error) {
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
