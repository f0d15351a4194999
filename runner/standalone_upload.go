package runner

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
)

// openBoth opens the builder while the registry is asked whether it takes the login.
func (r *standalone) openBoth(ctx context.Context) (hangUp func(), err error) {
	asking, enough := context.WithCancel(ctx)
	defer enough()
	var refusal error
	checked := make(chan struct{})
	go func() {
		defer close(checked)
		refusal = r.checkRegistry(asking)
	}()
	if hangUp, err = r.openBuilder(ctx); err != nil {
		enough()
		<-checked
		return nil, err
	}
	if <-checked; refusal != nil {
		hangUp()
		return nil, refusal
	}
	return hangUp, nil
}

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
		return fmt.Errorf("no tag was moved anywhere, for the image is not in %d of %d repositories: %w", len(problems), n, errors.Join(problems...))
	}
	return errors.Join(problems...)
}

// uploadTo makes sure that one repository has the image by its digest. That the builder has
// pushed it counts when the registry that this step reaches has it: a builder with another
// network may find another registry by that name.
func (r *standalone) uploadTo(ctx context.Context, image, mountFrom string) error {
	if r.image.Pushed && image == r.request.Image {
		if r.s.Builder == "" {
			return nil
		}
		has, err := r.registry().Has(ctx, image, r.image.Digest, r.loginFor(image))
		if has || err != nil {
			return err
		}
	}
	request := r.request
	request.Image, request.MountFrom = image, mountFrom
	return r.builder.Push(ctx, request, r.image.Digest)
}
