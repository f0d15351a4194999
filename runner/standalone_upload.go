package runner

import (
	"context"
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

// upload makes sure that the registry has the image by its digest. That the builder has pushed it
// counts when the registry that this step reaches has it: a builder with another network may find
// another registry by that name.
func (r *standalone) upload(ctx context.Context) error {
	if r.image.Pushed {
		if r.s.Builder == "" {
			return nil
		}
		has, err := r.registry().Has(ctx, r.s.Image, r.image.Digest, r.login())
		if has || err != nil {
			return err
		}
	}
	return r.builder.Push(ctx, r.request, r.image.Digest)
}
