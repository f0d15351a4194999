package runner

import (
	"context"
	"errors"
	"fmt"

	"slipway/config/secret"
	"slipway/runner/cosign"
	"slipway/runner/settings"
	"slipway/runner/source"
)

// readSigningKey reads the key that is in a file. No error shows the path: who sets the key
// in another form than it has means a secret to be one.
func readSigningKey(s *settings.Plugin) error {
	if !s.Sign.InFile {
		return nil
	}
	text, err := source.ReadFile(s.Workspace, s.Sign.Key.Reveal(), maxSecret)
	if err != nil {
		return errors.New(
			"PLUGIN_COSIGN_PRIVATE_KEY is neither a key in PEM, which begins with -----BEGIN, nor the path of a file that can be read, absolute or from the workspace",
		)
	}
	s.Sign.Key, s.Sign.InFile = secret.New(string(text)), false
	return nil
}

// openKey finds out that a key cannot be used before a build is spent on it.
func (r *standalone) openKey() (err error) {
	if r.s.Sign.Key.IsZero() || !r.publishes() {
		return nil
	}
	r.key, err = cosign.ParseKey(r.s.Sign.Key, r.s.Sign.Password)
	switch {
	case errors.Is(err, cosign.ErrPassword) && r.s.Sign.Password.IsZero():
		return errors.New("PLUGIN_COSIGN_PASSWORD is not set, and PLUGIN_COSIGN_PRIVATE_KEY is encrypted")
	case errors.Is(err, cosign.ErrPassword):
		return fmt.Errorf("PLUGIN_COSIGN_PASSWORD %w that is PLUGIN_COSIGN_PRIVATE_KEY", err)
	case err != nil:
		return fmt.Errorf("PLUGIN_COSIGN_PRIVATE_KEY %w", err)
	}
	return nil
}

// sign signs what was sent, before any tag points at it: who lets only signed images run must
// never find a tag at one that is not.
func (r *standalone) sign(ctx context.Context) error {
	if r.key == nil {
		return nil
	}
	for _, image := range r.s.Images {
		if err := cosign.Attach(
			ctx,
			r.registry,
			image,
			r.image.Digest,
			r.key,
			r.s.Sign.Annotations,
			r.loginFor(image),
		); err != nil {
			return fmt.Errorf("the image was not signed, and so no tag was pushed: %w", r.blame(image, err))
		}
		r.log.line("signed %s@%s", image, r.image.Digest)
	}
	return nil
}
