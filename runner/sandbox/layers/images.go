package layers

import (
	"context"
	"sync"

	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/source"
	"github.com/moby/buildkit/source/containerimage"
	"github.com/moby/buildkit/worker/base"
)

// Images remembers the images that a builder used, until one of their layers was missing in the pool.
// It is safe for concurrent use.
type Images struct {
	// Report is called with an image that may have a missing layer, for example
	// docker.io/library/alpine@sha256:….
	Report func(image string)

	mu   sync.Mutex
	used map[string]bool // images that were not reported
}

// Watch makes a worker report to Images each image that it uses.
func (i *Images) Watch(w *base.Worker) {
	w.SourceManager.Register(imageSource{Source: w.ImageSource, images: i})
}

// Missed reports the images used since the last report. Use it as Pool.Missed.
func (i *Images) Missed() {
	i.mu.Lock()
	used := i.used
	i.used = nil
	i.mu.Unlock()
	for image := range used {
		i.Report(image)
	}
}

func (i *Images) add(image string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.used == nil {
		i.used = map[string]bool{}
	}
	i.used[image] = true
}

// An imageSource is BuildKit's source of images in registries.
type imageSource struct {
	source.Source
	images *Images
}

// Resolve implements source.Source.
func (s imageSource) Resolve(
	ctx context.Context, id source.Identifier, sessions *session.Manager, vertex solver.Vertex,
) (source.SourceInstance, error) {
	instance, err := s.Source.Resolve(ctx, id, sessions, vertex)
	image, ok := id.(*containerimage.ImageIdentifier)
	if err != nil || !ok {
		return instance, err
	}
	return &imageInstance{SourceInstance: instance, images: s.images, repository: image.Reference.Locator}, nil
}

type imageInstance struct {
	source.SourceInstance
	images     *Images
	repository string // for example docker.io/library/alpine

	mu     sync.Mutex
	digest string
}

// CacheKey implements source.SourceInstance.
func (s *imageInstance) CacheKey(
	ctx context.Context, job solver.JobContext, index int,
) (key, pin string, o solver.CacheOpts, done bool, err error) {
	key, pin, o, done, err = s.SourceInstance.CacheKey(ctx, job, index)
	if err == nil {
		s.mu.Lock()
		s.digest = pin
		s.mu.Unlock()
	}
	return key, pin, o, done, err
}

// Snapshot implements source.SourceInstance. The layers are unpacked later, when a step needs them.
func (s *imageInstance) Snapshot(ctx context.Context, job solver.JobContext) (cache.ImmutableRef, error) {
	ref, err := s.SourceInstance.Snapshot(ctx, job)
	s.mu.Lock()
	digest := s.digest
	s.mu.Unlock()
	if err == nil && digest != "" {
		s.images.add(s.repository + "@" + digest)
	}
	return ref, err
}
