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

// Media type and annotation of a signature, as cosign expects them.
// https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
const (
	payloadType         = types.MediaType("application/vnd.dev.cosign.simplesigning.v1+json")
	signatureAnnotation = "dev.cosignproject.cosign/signature"
)

// Tag returns the tag of the image that holds the signatures of a digest, for example sha256-4f1d….sig.
func Tag(digest string) string { return strings.Replace(digest, ":", "-", 1) + ".sig" }

// Attach signs an image and adds the signature to the registry's signatures of the digest. It adds
// nothing if the same key has already signed the same payload, so it is idempotent. Two concurrent
// calls for one digest may lose one of the signatures; cosign has the same limit.
func Attach(ctx context.Context, c *registry.Client, image, digest string, key *Key,
	annotations map[string]string, l registry.Login) error {
	text, err := document(image, digest, annotations)
	if err != nil {
		return err
	}
	return c.Amend(ctx, image, Tag(digest), l, func(signatures v1.Image) (v1.Image, error) {
		if signatures == nil {
			signatures = mutate.ConfigMediaType(
				mutate.MediaType(empty.Image, types.OCIManifestSchema1),
				types.OCIConfigJSON,
			)
		}
		layer := static.NewLayer(text, payloadType)
		exists, err := hasSignature(signatures, text, key)
		if err != nil || exists {
			return nil, err
		}
		sig, err := key.sign(text)
		if err != nil {
			return nil, err
		}
		return mutate.Append(signatures, mutate.Addendum{
			Layer: layer, Annotations: map[string]string{signatureAnnotation: base64.StdEncoding.EncodeToString(sig)},
		})
	})
}

// document returns the signed payload: JSON that binds the digest to the image's name.
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
		optional = nil // cosign writes null if there are no annotations
	}
	return json.Marshal(payload.Cosign{Image: ref, Annotations: optional})
}

// hasSignature reports whether the signatures contain one of this text by this key.
func hasSignature(signatures v1.Image, text []byte, key *Key) (bool, error) {
	manifest, err := signatures.Manifest()
	if err != nil {
		return false, err
	}
	for _, one := range manifest.Layers {
		sig, err := base64.StdEncoding.DecodeString(one.Annotations[signatureAnnotation])
		if err == nil && key.verifies(sig, text) {
			return true, nil
		}
	}
	return false, nil
}
