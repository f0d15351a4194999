package runner

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"slipway/runner/spec"
)

// builderPushes decides whether a builder may push the image itself: one of this step's own, or
// of this machine. A host that only this machine or its network knows is another's name elsewhere.
func builderPushes(address, image string) bool {
	if address == "" || strings.HasPrefix(address, "unix:") {
		return true
	}
	host, _, _ := strings.Cut(image, "/")
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.Contains(host, ".") && net.ParseIP(host) == nil
}

// upload has the image in every repository, sent to each registry once: what goes into several
// repositories of one, that registry takes over from the first of them.
func (r *standalone) upload(ctx context.Context) error {
	var problems []error
	first := map[[2]string]string{} // the repository that has the image, by registry and login
	for _, image := range r.s.Images {
		where := [2]string{registryOf(image), r.s.LoginFor(image).Host}
		if err := r.uploadTo(ctx, image, first[where]); err != nil {
			if ctx.Err() != nil {
				return err
			}
			problems = append(problems, r.blame(image, err))
			continue
		}
		if first[where] == "" {
			first[where] = image
		}
	}
	if n := len(r.s.Images); problems != nil && n > 1 {
		return fmt.Errorf(
			"no tag was moved anywhere, for the image is not in %d of %d repositories: %w",
			len(problems),
			n,
			errors.Join(problems...),
		)
	}
	return errors.Join(problems...)
}

// firstTag is the tag that the builder moves as the last of its push: only a builder of this
// step's own, which finds the registry that the step finds, and only where nothing else is to be at
// a registry before, nor can fail the build besides.
func (r *standalone) firstTag(caches []spec.Cache) string {
	if !r.publishes() || r.s.Builder != "" || len(r.s.Images) > 1 || !r.s.Sign.Key.IsZero() || mayFail(caches) {
		return ""
	}
	return r.s.Tags[0]
}

// mayFail reports whether a cache that cannot be written fails its build.
func mayFail(caches []spec.Cache) bool {
	return slices.ContainsFunc(
		caches,
		func(c spec.Cache) bool { return c.Type != spec.CacheInline && c.Attrs["ignore-error"] != "true" },
	)
}

// uploadTo makes sure that one repository has the image by its digest.
func (r *standalone) uploadTo(ctx context.Context, image, mountFrom string) error {
	if r.image.Pushed && image == r.request.Image {
		has, err := r.builderPushed(ctx)
		if has || err != nil {
			return err
		}
		if err := r.buildWhole(ctx); err != nil {
			return err
		}
	}
	request := r.request
	request.Image, request.MountFrom = image, mountFrom
	return r.builder.Push(ctx, request, r.image.Digest)
}

// builderPushed finds out whether what the builder has pushed is in the registry that this step
// reaches: a builder with another network may find another one by that name.
func (r *standalone) builderPushed(ctx context.Context) (bool, error) {
	if r.s.Builder == "" {
		return true, nil
	}
	return r.registry.Has(ctx, r.request.Image, r.image.Digest, r.loginFor(r.request.Image))
}

// buildWhole has of the builder, which has it all in its cache, what it did not need to push.
func (r *standalone) buildWhole(ctx context.Context) error {
	if r.request.Whole {
		return nil
	}
	request := r.request
	request.Publish, request.NoCache = false, false
	again, err := r.builder.Build(ctx, request)
	if err == nil {
		r.image.Digest, r.image.Manifest, r.image.Size, r.image.Pushed = again.Digest, again.Manifest, again.Size, false
	}
	return err
}
