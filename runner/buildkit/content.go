package buildkit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	contentapi "github.com/containerd/containerd/api/services/content/v1"
	"github.com/containerd/containerd/v2/core/content/proxy"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"slipway/runner/registry"
)

// maxManifest is the largest manifest or config that is read, in bytes. Registries have the same limit.
const maxManifest = 4 << 20

// store reads the builder's content: the manifests, configs and layers of recent builds. Slipway's builder keeps
// those of a build with a record until its client closes the connection. Another builder keeps the manifests and
// configs, and its next garbage collection may remove the layers. Without a record it may remove all.
type store struct {
	ctx   context.Context // context of the push; go-containerregistry's interfaces have no parameter for it
	calls contentapi.ContentClient
}

func (c *Client) store(ctx context.Context) store {
	return store{ctx: ctx, calls: c.bk.ContentClient()}
}

func (s store) blob(dgst string, size int64) (io.ReadCloser, error) {
	parsed, err := digest.Parse(dgst)
	if err != nil {
		return nil, fmt.Errorf("digest %q: %w", dgst, err)
	}
	reader, err := proxy.NewContentStore(s.calls).ReaderAt(s.ctx, ocispecs.Descriptor{Digest: parsed, Size: size})
	if err != nil {
		return nil, fmt.Errorf("read %s from the builder: %w", dgst, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(reader, 0, reader.Size()), reader}, nil
}

// small reads a manifest or config of at most maxManifest bytes in one call, and checks its digest.
func (s store) small(dgst string) ([]byte, error) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	stream, err := s.calls.Read(ctx, &contentapi.ReadContentRequest{Digest: dgst}) // all of it
	if err != nil {
		return nil, fmt.Errorf("read %s from the builder: %w", dgst, err)
	}
	var data []byte
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read %s from the builder: %w", dgst, err)
		}
		data = append(data, part.GetData()...)
		if len(data) > maxManifest {
			return nil, fmt.Errorf("manifest %s is larger than %d bytes", dgst, maxManifest)
		}
	}
	if got := digest.FromBytes(data).String(); got != dgst {
		return nil, fmt.Errorf("read %s from the builder: the content has the digest %s", dgst, got)
	}
	return data, nil
}

// registryTimeout is the time limit for reading a manifest from the registry.
const registryTimeout = 10 * time.Second

// A reader returns a manifest by its digest.
type reader func(dgst string) ([]byte, error)

// withRegistryFallback returns a reader that reads from the registry if the builder has no content. It
// applies only to builds without a record, whose content the builder may have removed.
func (read reader) withRegistryFallback(ctx context.Context, r Request) reader {
	if !r.pushedByBuilder() {
		return read
	}
	client := registry.New(registry.Options{Attempts: 1, Timeout: registryTimeout, Certs: r.Certs})
	return func(dgst string) ([]byte, error) {
		raw, err := read(dgst)
		if err == nil || ctx.Err() != nil {
			return raw, err
		}
		m, registryErr := client.Manifest(ctx, r.Image, dgst, registry.LoginFor(r.Image, r.Registries))
		if registryErr != nil {
			return nil, errors.Join(err, registryErr)
		}
		return m.Bytes, nil
	}
}

// measure returns the manifest of an image, and its compressed size in bytes. If the size is unknown,
// it returns the manifest with an error.
func (read reader) measure(dgst string) (raw []byte, size int64, err error) {
	raw, err = read(dgst)
	if err != nil {
		return nil, 0, err
	}
	size, err = read.sizeOf(dgst, raw)
	return raw, size, err
}

// sizeOf returns the size of the config and the compressed layers of an image, in bytes. For an index
// it returns the sum of all its images.
func (read reader) sizeOf(dgst string, raw []byte) (int64, error) {
	var m struct {
		Config    ocispecs.Descriptor   `json:"config"`
		Layers    []ocispecs.Descriptor `json:"layers"`
		Manifests []ocispecs.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return 0, fmt.Errorf("manifest %s: %w", dgst, err)
	}
	total := m.Config.Size
	for _, layer := range m.Layers {
		total += layer.Size
	}
	for _, child := range m.Manifests {
		_, size, err := read.measure(child.Digest.String())
		if err != nil {
			return 0, err
		}
		total += size
	}
	return total, nil
}

// image is the image of one platform in the store.
type image struct {
	store    store
	raw      []byte
	manifest *v1.Manifest
}

var _ partial.CompressedImageCore = (*image)(nil)

func (s store) image(dgst string) (v1.Image, error) {
	raw, err := s.small(dgst)
	if err != nil {
		return nil, err
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", dgst, err)
	}
	return partial.CompressedToImage(&image{store: s, raw: raw, manifest: manifest})
}

func (i *image) RawManifest() ([]byte, error)        { return i.raw, nil }
func (i *image) MediaType() (types.MediaType, error) { return i.manifest.MediaType, nil }
func (i *image) RawConfigFile() ([]byte, error) {
	return i.store.small(i.manifest.Config.Digest.String())
}
func (i *image) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, desc := range i.manifest.Layers {
		if desc.Digest == h {
			return &layer{store: i.store, desc: desc}, nil
		}
	}
	return nil, fmt.Errorf("image has no layer %s", h)
}

type layer struct {
	store store
	desc  v1.Descriptor
}

var _ partial.CompressedLayer = (*layer)(nil)

func (l *layer) Digest() (v1.Hash, error)            { return l.desc.Digest, nil }
func (l *layer) Size() (int64, error)                { return l.desc.Size, nil }
func (l *layer) MediaType() (types.MediaType, error) { return l.desc.MediaType, nil }
func (l *layer) Compressed() (io.ReadCloser, error) {
	return l.store.blob(l.desc.Digest.String(), l.desc.Size)
}

// index is an index of images for several platforms in the store.
type index struct {
	store    store
	raw      []byte
	manifest *v1.IndexManifest
}

var _ v1.ImageIndex = (*index)(nil)

func (s store) index(raw []byte) (v1.ImageIndex, error) {
	manifest, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("image index: %w", err)
	}
	return &index{store: s, raw: raw, manifest: manifest}, nil
}

func (i *index) MediaType() (types.MediaType, error)       { return i.manifest.MediaType, nil }
func (i *index) Digest() (v1.Hash, error)                  { return partial.Digest(i) }
func (i *index) Size() (int64, error)                      { return int64(len(i.raw)), nil }
func (i *index) IndexManifest() (*v1.IndexManifest, error) { return i.manifest, nil }
func (i *index) RawManifest() ([]byte, error)              { return i.raw, nil }
func (i *index) Image(h v1.Hash) (v1.Image, error)         { return i.store.image(h.String()) }
func (i *index) ImageIndex(h v1.Hash) (v1.ImageIndex, error) {
	return nil, errors.New("image index inside another index is not supported: " + h.String())
}
