package registry

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	digest "github.com/opencontainers/go-digest"
)

// A Manifest is the target of a tag: the manifest of an image, or an index. If Bytes is set, Tag does
// not read it from the registry, which may count the read as a pull.
type Manifest struct {
	Digest string
	Bytes  []byte // nil = not known
}

// Manifest reads the manifest or index of a digest. It returns ErrNotFound if there is none.
func (c *Client) Manifest(ctx context.Context, image, digest string, l Login) (Manifest, error) {
	repo, err := repository(image, l)
	if err != nil {
		return Manifest{}, err
	}
	return retry(ctx, c, func(ctx context.Context) (Manifest, error) {
		found, err := remote.Get(repo.Digest(digest), c.pullOptions(ctx, repo, l)...)
		if err != nil {
			return Manifest{}, explain("read "+digest+" of", repo, err)
		}
		return Manifest{Digest: digest, Bytes: found.Manifest}, nil
	})
}

// taggable returns the manifest to send under another name, or nil if it must be read first.
func (m Manifest) taggable() (remote.Taggable, error) {
	if m.Bytes == nil {
		return nil, nil
	}
	if got := digest.FromBytes(m.Bytes).String(); got != m.Digest {
		return nil, fmt.Errorf("the manifest of %s has the digest %s", m.Digest, got)
	}
	var kind struct {
		MediaType types.MediaType `json:"mediaType"`
	}
	if err := json.Unmarshal(m.Bytes, &kind); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", m.Digest, err)
	}
	if kind.MediaType == "" {
		return nil, nil // optional in OCI; the registry has it from the upload
	}
	return rawManifest{m.Bytes, kind.MediaType}, nil
}

// rawManifest is a manifest with known bytes.
type rawManifest struct {
	raw  []byte
	kind types.MediaType
}

var _ remote.Taggable = rawManifest{}

// RawManifest returns the bytes.
func (b rawManifest) RawManifest() ([]byte, error) { return b.raw, nil }

// MediaType returns the type of the manifest.
func (b rawManifest) MediaType() (types.MediaType, error) { return b.kind, nil }
