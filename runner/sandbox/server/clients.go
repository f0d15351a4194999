package server

import (
	"context"
	"maps"

	"github.com/moby/buildkit/cache/remotecache"
	"github.com/moby/buildkit/exporter"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/worker"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// optInsecure is the attribute of an image or of a cache for which BuildKit connects to the registry with clients
// of its own: they know neither the policy nor the server's certificates.
// Source: Push in BuildKit's util/push/push.go
const optInsecure = "registry.insecure"

// withoutInsecure returns the attributes of a request without optInsecure. So the server's own clients are used,
// which use plain HTTP for Config.InsecureRegistries.
func withoutInsecure(attrs map[string]string) map[string]string {
	attrs = maps.Clone(attrs)
	delete(attrs, optInsecure)
	return attrs
}

// A policyWorker is a worker whose images are pushed with the server's clients of registries only.
type policyWorker struct{ worker.Worker }

// Exporter implements worker.Worker.
func (w policyWorker) Exporter(name string, sessions *session.Manager) (exporter.Exporter, error) {
	e, err := w.Worker.Exporter(name, sessions)
	if err != nil {
		return nil, err
	}
	return policyExporter{e}, nil
}

type policyExporter struct{ exporter.Exporter }

// Resolve implements exporter.Exporter.
func (e policyExporter) Resolve(
	ctx context.Context, id int, attrs map[string]string,
) (exporter.ExporterInstance, error) {
	return e.Exporter.Resolve(ctx, id, withoutInsecure(attrs))
}

// cacheWriter returns a cache exporter that uses the server's clients of registries only.
func cacheWriter(next remotecache.ResolveCacheExporterFunc) remotecache.ResolveCacheExporterFunc {
	return func(ctx context.Context, g session.Group, attrs map[string]string) (remotecache.Exporter, error) {
		return next(ctx, g, withoutInsecure(attrs))
	}
}

// cacheReader returns a cache importer that uses the server's clients of registries only.
func cacheReader(next remotecache.ResolveCacheImporterFunc) remotecache.ResolveCacheImporterFunc {
	return func(
		ctx context.Context, g session.Group, attrs map[string]string,
	) (remotecache.Importer, ocispecs.Descriptor, error) {
		return next(ctx, g, withoutInsecure(attrs))
	}
}
