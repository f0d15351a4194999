package cosign

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sigstore/sigstore/pkg/signature/payload"

	"slipway/runner/registry"
)

// What cosign finds signatures by.
// https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
const (
	payloadType         = types.MediaType("application/vnd.dev.cosign.simplesigning.v1+json")
	signatureAnnotation = "dev.cosignproject.cosign/signature"
)

// Tag is the tag at which the signatures of a digest are.
func Tag(digest string) string { return strings.Replace(digest, ":", "-", 1) + ".sig" }

// Attach signs the image of a digest, and puts the signature beside it, to those that are there
// already. One by the same key that says the same is left as it is, so repeating it is
// harmless. Two that attach to one digest at the same moment may lose one of the signatures, as
// with cosign.
func Attach(ctx context.Context, c *registry.Client, image, digest string, key *Key, annotations map[string]string, l registry.Login) error {
	text, err := document(image, digest, annotations)
	if err != nil {
		return err
	}
	return c.Amend(ctx, image, Tag(digest), l, func(signatures v1.Image) (v1.Image, error) {
		if signatures == nil {
			signatures = mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
		}
		layer := static.NewLayer(text, payloadType)
		there, err := signed(signatures, text, key)
		if err != nil || there {
			return nil, err
		}
		made, err := key.sign(text)
		if err != nil {
			return nil, err
		}
		return mutate.Append(signatures, mutate.Addendum{
			Layer: layer, Annotations: map[string]string{signatureAnnotation: base64.StdEncoding.EncodeToString(made)},
		})
	})
}

// document is what is signed: that this digest is this image.
func document(image, digest string, annotations map[string]string) ([]byte, error) {
	ref, err := name.NewDigest(image + "@" + digest)
	if err != nil {
		return nil, fmt.Errorf("sign %s@%s: %w", image, digest, err)
	}
	optional := make(map[string]any, len(annotations))
	for name, value := range annotations {
		optional[name] = value
	}
	if len(optional) == 0 {
		optional = nil // null, as cosign writes it
	}
	return json.Marshal(payload.Cosign{Image: ref, Annotations: optional})
}

// signed reports whether the same is there, by the same key.
func signed(signatures v1.Image, text []byte, key *Key) (bool, error) {
	manifest, err := signatures.Manifest()
	if err != nil {
		return false, err
	}
	for _, one := range manifest.Layers {
		sig, err := base64.StdEncoding.DecodeString(one.Annotations[signatureAnnotation])
		if err == nil && key.made(sig, text) {
			return true, nil
		}
	}
	return false, nil
}
