// Package pushlease keeps the images of a client's builds complete until the client closes its connection, so that
// it can push them. BuildKit's record of a build keeps the manifest and the config of the image, but not its
// layers: the next garbage collection removes them if the cache is larger than its limit. Hooks and tests run
// between a build and its push, so that may take hours.
package pushlease

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/util/leaseutil"
	"github.com/moby/buildkit/worker"
	"github.com/moby/buildkit/worker/base"
	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
)

// deleteTimeout bounds the deletion of a lease. The next start of the server deletes leases that are left.
const deleteTimeout = 10 * time.Second

// A Keeper has a lease for each connection that builds images. The lease refers to the manifests, whose labels
// refer to the configs and layers. A Keeper is safe for concurrent use.
type Keeper struct {
	leases   leases.Manager
	log      logrus.FieldLogger
	deleting sync.WaitGroup
}

var _ stats.Handler = (*Keeper)(nil)

// New returns a Keeper of images in the content store of a lease manager.
func New(manager leases.Manager, log logrus.FieldLogger) *Keeper {
	return &Keeper{leases: manager, log: log}
}

// Wait waits until the leases of closed connections are deleted.
func (k *Keeper) Wait() { k.deleting.Wait() }

// A connection is the connection of a client.
type connection struct {
	mu     sync.Mutex
	lease  *leases.Lease // nil = none yet
	closed bool
}

// connectionKey is the key of a *connection in the context of a call. solveKey is the key of a *connection in the
// context of a build whose image may be pushed later.
type connectionKey struct{}

type solveKey struct{}

// TagConn implements stats.Handler.
func (k *Keeper) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return context.WithValue(ctx, connectionKey{}, &connection{})
}

// HandleConn implements stats.Handler. It deletes the lease of a closed connection.
func (k *Keeper) HandleConn(ctx context.Context, event stats.ConnStats) {
	c, ok := ctx.Value(connectionKey{}).(*connection)
	if _, ended := event.(*stats.ConnEnd); !ended || !ok {
		return
	}
	k.deleting.Go(func() {
		if err := k.release(c); err != nil {
			k.log.WithError(err).Warn("the images of a client stay in the builder until it starts again")
		}
	})
}

// TagRPC implements stats.Handler.
func (*Keeper) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements stats.Handler.
func (*Keeper) HandleRPC(context.Context, stats.RPCStats) {}

// Unary is an interceptor. It makes the lease of a connection while its first build runs. A build without a record
// needs none, because no push follows.
func (k *Keeper) Unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	solve, ok := req.(*controlapi.SolveRequest)
	c, connected := ctx.Value(connectionKey{}).(*connection)
	if !ok || !connected || solve.Internal {
		return next(ctx, req)
	}
	go func() { _, _ = k.leaseOf(context.WithoutCancel(ctx), c) }() // the export returns the error
	return next(context.WithValue(ctx, solveKey{}, c), req)
}

// leaseOf returns the lease of a connection. It makes the lease on the first call. It returns nil after the end of
// the connection.
func (k *Keeper) leaseOf(ctx context.Context, c *connection) (*leases.Lease, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.lease != nil {
		return c.lease, nil
	}
	// BuildKit deletes temporary leases at its start. A lease without that label would outlive a killed server.
	lease, err := k.leases.Create(ctx, leases.WithRandomID(), leaseutil.MakeTemporary)
	if err != nil {
		return nil, fmt.Errorf("keep the image for its push: %w", err)
	}
	c.lease = &lease
	return c.lease, nil
}

func (k *Keeper) release(c *connection) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	lease := c.lease
	c.lease, c.closed = nil, true
	if lease == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), deleteTimeout)
	defer cancel()
	return k.leases.Delete(ctx, *lease)
}

// Wrap returns a worker whose image exporter puts images under the lease of the client's connection.
func (k *Keeper) Wrap(w *base.Worker) worker.Worker { return leasingWorker{w, k} }

type leasingWorker struct {
	*base.Worker
	keeper *Keeper
}

// Exporter implements worker.Worker.
func (w leasingWorker) Exporter(name string, sessions *session.Manager) (exporter.Exporter, error) {
	e, err := w.Worker.Exporter(name, sessions)
	if err != nil || name != client.ExporterImage {
		return e, err
	}
	return leasingExporter{e, w.keeper}, nil
}

type leasingExporter struct {
	exporter.Exporter
	keeper *Keeper
}

// Resolve implements exporter.Exporter.
func (e leasingExporter) Resolve(
	ctx context.Context, id int, attrs map[string]string,
) (exporter.ExporterInstance, error) {
	instance, err := e.Exporter.Resolve(ctx, id, attrs)
	if err != nil {
		return nil, err
	}
	return leasingInstance{instance, e.keeper}, nil
}

type leasingInstance struct {
	exporter.ExporterInstance
	keeper *Keeper
}

// Export implements exporter.ExporterInstance. The content store adds all content that it writes, or already has,
// to the lease of the context.
func (i leasingInstance) Export(
	ctx context.Context, src *exporter.Source, info exporter.ExportBuildInfo,
) (map[string]string, exporter.FinalizeFunc, exporter.DescriptorReference, error) {
	if c, ok := ctx.Value(solveKey{}).(*connection); ok {
		lease, err := i.keeper.leaseOf(ctx, c)
		if err != nil {
			return nil, nil, nil, err
		}
		if lease != nil {
			ctx = leases.WithLease(ctx, lease.ID)
		}
	}
	return i.ExporterInstance.Export(ctx, src, info)
}
