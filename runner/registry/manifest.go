package registry

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	digest "github.com/opencontainers/go-digest"
)

// A Manifest is what a tag points at, an index too. One whose bytes are known is not read of the
// registry before, which may count that as a pull.
type Manifest struct {
	Digest string
	Bytes  []byte // nil = not known
}

// Manifest reads the manifest or index of a digest: ErrNotFound when there is none.
func (c *Client) Manifest(ctx context.Context, image, digest string, l Login) (Manifest, error) {
	repo, err := repository(image, l)
	if err != nil {
		return Manifest{}, err
	}
	return retry(ctx, c, func(ctx context.Context) (Manifest, error) {
		found, err := remote.Get(repo.Digest(digest), c.acquainted(ctx, repo, l)...)
		if err != nil {
			return Manifest{}, explain("read "+digest+" of", repo, err)
		}
		return Manifest{Digest: digest, Bytes: found.Manifest}, nil
	})
}

// known is what may be sent under another name, or nil where the registry must be asked for it.
func (m Manifest) known() (remote.Taggable, error) {
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
		return nil, nil // OCI lets it be left out; the registry has been told
	}
	return bytesOf{m.Bytes, kind.MediaType}, nil
}

// bytesOf is a manifest by its bytes.
type bytesOf struct {
	raw  []byte
	kind types.MediaType
}

var _ remote.Taggable = bytesOf{}

// RawManifest returns the bytes.
func (b bytesOf) RawManifest() ([]byte, error) { return b.raw, nil }

// MediaType returns what they are.
func (b bytesOf) MediaType() (types.MediaType, error) { return b.kind, nil }
