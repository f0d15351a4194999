package server

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/moby/buildkit/cache/remotecache"
	"github.com/moby/buildkit/cache/remotecache/inline"
	"github.com/moby/buildkit/cache/remotecache/local"
	"github.com/moby/buildkit/cache/remotecache/registry"
	"github.com/moby/buildkit/control"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/bboltcachestorage"
	"github.com/moby/buildkit/util/db/boltutil"
	"github.com/moby/buildkit/worker"

	"slipway/runner/sandbox/server/builddisk"
	"slipway/runner/sandbox/server/pushlease"
)

// An engine is BuildKit's controller, with what the server needs beside it.
type engine struct {
	*control.Controller
	cache  builddisk.Pruner // prunes the cache
	pushes *pushlease.Keeper
	stores *closers
}

// Close closes the controller, after the leases of closed connections. Then it closes the databases of the worker's
// content and snapshots, which the controller leaves open.
func (e engine) Close() error {
	e.pushes.Wait()
	return errors.Join(e.Controller.Close(), e.stores.close())
}

// newEngine creates a BuildKit controller for Dockerfile builds, as buildkitd's main does: one worker,
// the frontends, the cache and the history. The history keeps the manifests and configs of recent results.
// Package pushlease keeps their layers until a client has pushed them.
func newEngine(ctx context.Context, c Config, p parts) (_ engine, err error) {
	var undo closers
	defer func() {
		if err != nil {
			err = errors.Join(err, undo.close())
		}
	}()
	sessions, err := session.NewManager()
	if err != nil {
		return engine{}, fmt.Errorf("open the sessions: %w", err)
	}
	hosts := c.registryHosts()
	p.stores = &closers{}
	undo.add(p.stores.close)
	w, err := newWorker(ctx, c, hosts, p)
	if err != nil {
		return engine{}, err
	}
	undo.add(w.Close)
	workers := &worker.Controller{}
	pushes := pushlease.New(w.LeaseManager(), c.Log)
	added := pushes.Wrap(w)
	cacheTo := registry.ResolveCacheExporterFunc(sessions, hosts)
	cacheFrom := registry.ResolveCacheImporterFunc(sessions, w.ContentStore(), hosts)
	if c.hasPolicy() {
		added, cacheTo, cacheFrom = policyWorker{added}, cacheWriter(cacheTo), cacheReader(cacheFrom)
	}
	if err := workers.Add(added); err != nil {
		return engine{}, fmt.Errorf("add worker: %w", err)
	}
	fronts, err := frontends(workers.Infos(), c.Frontends)
	if err != nil {
		return engine{}, err
	}
	if err := errors.Join(p.disk.PruneAtStart(ctx, w), p.watch.PruneToLimit(ctx, w)); err != nil {
		return engine{}, err
	}
	store, history, err := openRecords(c.State, &undo)
	if err != nil {
		return engine{}, err
	}
	controller, err := control.NewController(control.Opt{
		SessionManager:   sessions,
		WorkerController: workers,
		Frontends:        fronts,
		CacheManager:     solver.NewCacheManager(ctx, "local", store, worker.NewCacheResultStorage(workers)),
		CacheStore:       store,
		HistoryDB:        history,
		ResolveCacheExporterFuncs: map[string]remotecache.ResolveCacheExporterFunc{
			"registry": cacheTo,
			"inline":   inline.ResolveCacheExporterFunc(),
			"local":    local.ResolveCacheExporterFunc(sessions),
		},
		ResolveCacheImporterFuncs: map[string]remotecache.ResolveCacheImporterFunc{
			"registry": cacheFrom,
			"local":    local.ResolveCacheImporterFunc(sessions),
		},
		LeaseManager:   w.LeaseManager(),
		ContentStore:   w.ContentStore(),
		GarbageCollect: w.GarbageCollect,
		GracefulStop:   ctx.Done(),
		Entitlements:   nil, // no network.host, no security.insecure, no devices
	})
	return engine{Controller: controller, cache: w, pushes: pushes, stores: p.stores}, err
}

// openRecords opens the databases of the cache's keys and of the history in a state directory, and adds their closing
// to undo. The engine's controller closes them, if it is made.
func openRecords(state string, undo *closers) (*bboltcachestorage.Store, *boltutil.DB, error) {
	store, err := bboltcachestorage.NewStore(filepath.Join(state, "cache.db"))
	if err != nil {
		return nil, nil, fmt.Errorf("open cache: %w", err)
	}
	undo.add(store.Close)
	history, err := boltutil.SafeOpen(filepath.Join(state, "history.db"), 0o600, databaseOptions())
	if err != nil {
		return nil, nil, fmt.Errorf("open history: %w", err)
	}
	undo.add(history.Close)
	return store, history, nil
}

// closers closes parts of an engine, in reverse order.
type closers []func() error

func (c *closers) add(f func() error) { *c = append(*c, f) }

func (c *closers) close() error {
	var all []error
	for i := len(*c) - 1; i >= 0; i-- {
		all = append(all, (*c)[i]())
	}
	return errors.Join(all...)
}
