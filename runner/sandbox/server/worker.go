package server

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/containerd/containerd/v2/core/diff/apply"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/containerd/v2/plugins/diff/walking"
	"github.com/containerd/containerd/v2/plugins/snapshots/native"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay/overlayutils"
	"github.com/containerd/platforms"
	cachemetadata "github.com/moby/buildkit/cache/metadata"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/executor/oci"
	"github.com/moby/buildkit/executor/resources"
	"github.com/moby/buildkit/executor/runcexecutor"
	containerdsnapshot "github.com/moby/buildkit/snapshot/containerd"
	"github.com/moby/buildkit/util/disk"
	"github.com/moby/buildkit/util/leaseutil"
	"github.com/moby/buildkit/version"
	"github.com/moby/buildkit/worker/base"
	wlabel "github.com/moby/buildkit/worker/label"
	"github.com/moby/sys/userns"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
	bolt "go.etcd.io/bbolt"

	"slipway/runner/sandbox"
	"slipway/runner/sandbox/layers"
	"slipway/runner/sandbox/server/builddisk"
	"slipway/runner/sandbox/server/localcontext"
)

// parts are the parts of a worker that the server keeps.
type parts struct {
	limits *limits
	slots  *slots
	images *layers.Images
	disk   *builddisk.Disk
	watch  *builddisk.Watch
	stores *closers // closes the stores of the worker, which its own Close leaves open
}

// newWorker returns BuildKit's runc worker with Slipway's networks. It follows BuildKit's
// worker/runc.NewWorkerOpt, which cannot run steps without a network.
func newWorker(ctx context.Context, c Config, hosts docker.RegistryHosts, p parts) (*base.Worker, error) {
	data := p.disk.Dir(c.State)
	name, newSnapshotter := chooseSnapshotter(data)
	if name == nativeSnapshotter && sandbox.MountedNoexec(data) {
		return nil, fmt.Errorf(
			"RUN steps cannot start programs: %s is mounted noexec, and overlayfs does not work there: "+
				"set TMPDIR to another directory, for example a volume",
			data,
		)
	}
	root := filepath.Join(c.State, "runc-"+name)
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("make the worker's directory: %w", err)
	}
	opt, err := openStores(root, p.disk.Dir(root), name, newSnapshotter, p.stores)
	if err != nil {
		return nil, err
	}
	if err := addExecutor(ctx, &opt, c, root); err != nil {
		return nil, err
	}
	opt.Executor = p.limits.wrap(p.watch.Wrap(p.disk.Wrap(opt.Executor)))
	opt.RegistryHosts = hosts
	opt.GCPolicy = gcPolicy(p.watch.CacheLimits(p.disk.CacheLimits(c.CacheBytes, c.minFree())))
	opt.ParallelismSem = p.slots.sem
	opt.BuildkitVersion = client.BuildkitVersion{
		Package: version.Package, Version: version.Version, Revision: version.Revision,
	}
	shared := c.Layers != "" && name != nativeSnapshotter
	if shared {
		pool := layers.Pool{Dir: c.Layers, Write: c.WriteLayers, Missed: p.images.Missed}
		if p.disk != nil {
			pool.State = c.State
		}
		if err := pool.Record(); err != nil {
			return nil, err
		}
		opt.Applier = pool.Wrap(opt.Applier)
	}
	w, err := base.NewWorker(ctx, opt)
	if err != nil {
		return nil, fmt.Errorf("make the worker: %w", err)
	}
	if shared {
		p.images.Watch(w)
	}
	if err := localcontext.Register(w, c.Environment.Context); err != nil {
		return nil, err
	}
	if c.Network == sandbox.NetworkHost {
		return w, nil
	}
	return w, c.confineADD(w)
}

const nativeSnapshotter = "native"

// chooseSnapshotter returns the overlayfs snapshotter if the kernel and the file system support it,
// else the native one, which copies files.
func chooseSnapshotter(state string) (string, func(root, database string) (snapshots.Snapshotter, error)) {
	if overlayutils.Supported(state) != nil {
		return nativeSnapshotter, func(root, _ string) (snapshots.Snapshotter, error) {
			return native.NewSnapshotter(root)
		}
	}
	return "overlayfs", func(root, database string) (snapshots.Snapshotter, error) {
		metadata, err := storage.NewMetaStore(database, withoutSync)
		if err != nil {
			return nil, err
		}
		return overlay.NewSnapshotter(root, overlay.AsynchronousRemove, overlay.WithMetaStore(metadata))
	}
}

// openStores opens the databases below root, and the stores of content and snapshots below data. It adds those
// that BuildKit does not close to open.
func openStores(
	root, data, snapshotter string,
	newSnapshotter func(root, database string) (snapshots.Snapshotter, error),
	open *closers,
) (base.WorkerOpt, error) {
	var opt base.WorkerOpt
	snapshotDir := filepath.Join(root, "snapshots")
	if err := os.MkdirAll(snapshotDir, 0o700); err != nil {
		return opt, fmt.Errorf("open snapshots: %w", err)
	}
	snaps, err := newSnapshotter(filepath.Join(data, "snapshots"), filepath.Join(snapshotDir, "metadata.db"))
	if err != nil {
		return opt, fmt.Errorf("open snapshots: %w", err)
	}
	open.add(snaps.Close)
	blobs, err := local.NewStore(filepath.Join(data, "content"))
	if err != nil {
		return opt, fmt.Errorf("open content: %w", err)
	}
	db, err := bolt.Open(filepath.Join(root, "containerdmeta.db"), 0o600, databaseOptions())
	if err != nil {
		return opt, fmt.Errorf("open metadata: %w", err)
	}
	open.add(db.Close)
	meta := metadata.NewDB(db, blobs, map[string]snapshots.Snapshotter{snapshotter: snaps})
	if err := meta.Init(context.Background()); err != nil {
		return opt, fmt.Errorf("open metadata: %w", err)
	}
	cacheMeta, err := cachemetadata.NewStore(filepath.Join(root, "metadata_v2.db"))
	if err != nil {
		return opt, fmt.Errorf("open cache metadata: %w", err)
	}
	id, err := base.ID(root)
	if err != nil {
		return opt, fmt.Errorf("make the worker's ID: %w", err)
	}
	content := containerdsnapshot.NewContentStore(meta.ContentStore(), "buildkit")
	return base.WorkerOpt{
		ID:             id,
		Root:           data, // BuildKit reads the free space there
		Labels:         map[string]string{wlabel.Executor: "oci", wlabel.Snapshotter: snapshotter},
		MetadataStore:  cacheMeta,
		Snapshotter:    containerdsnapshot.NewSnapshotter(snapshotter, meta.Snapshotter(snapshotter), "buildkit", nil),
		ContentStore:   content,
		Applier:        apply.NewFileSystemApplier(content),
		Differ:         walking.NewWalkingDiff(content),
		Platforms:      []ocispecs.Platform{platforms.Normalize(platforms.DefaultSpec())},
		LeaseManager:   leaseutil.WithNamespace(metadata.NewLeaseManager(meta), "buildkit"),
		GarbageCollect: meta.GarbageCollect,
		MountPoolRoot:  filepath.Join(root, "cachemounts"),
	}, nil
}

// addExecutor adds the executor of RUN steps: runc in the network that c configures.
func addExecutor(ctx context.Context, opt *base.WorkerOpt, c Config, root string) error {
	command, err := sandbox.FindRuntime(ctx, c.OCIRuntime)
	if err != nil {
		return err
	}
	net, err := openNetwork(ctx, c)
	if err != nil {
		return err
	}
	monitor, err := resources.NewMonitor()
	if err != nil {
		return fmt.Errorf("monitor resources: %w", err)
	}
	rootless := userns.RunningInUserNS()
	mode := oci.ProcessSandbox
	if rootless && !c.Environment.IsolatedPIDs {
		mode = oci.NoProcessSandbox
	}
	run, err := runcexecutor.New(runcexecutor.Opt{
		Root:              filepath.Join(root, "executor"),
		CommandCandidates: []string{command},
		Rootless:          rootless,
		ProcessMode:       mode,
		DNS:               c.dns(net.dns),
		ResourceMonitor:   monitor,
	}, net.providers)
	if err != nil {
		return fmt.Errorf("make executor: %w", err)
	}
	opt.Executor = run
	if net.plan.Mode == sandbox.NetworkHost {
		opt.Executor = hostNetwork{run}
	}
	opt.NetworkProviders = net.providers
	opt.ResourceMonitor = monitor
	maps.Copy(opt.Labels, map[string]string{wlabel.Network: net.plan.Mode, wlabel.OCIProcessMode: mode.String()})
	c.Log.WithFields(logrus.Fields{
		"network":     net.plan.Mode,
		"why":         net.plan.Reason,
		"snapshotter": opt.Labels[wlabel.Snapshotter],
		"rootless":    rootless,
	}).Info("RUN steps use network " + net.plan.Mode)
	return nil
}

// parallelism returns the number of concurrent steps; configured = 0 means twice the processors.
func parallelism(configured int) int {
	if configured > 0 {
		return configured
	}
	return 2 * runtime.NumCPU()
}

// minFree returns the free space that the cache leaves on its disk, in bytes: 5%. A supervisor keeps the
// same space free for all its builders, by deleting unused caches. So a builder of a supervisor keeps
// only half of this space free, because unused caches must go first.
func (c Config) minFree() int64 {
	stat, err := disk.GetDiskStat(c.State)
	switch {
	case err != nil:
		return 0
	case c.Environment.Inherited.Link != nil:
		return stat.Total / 40
	}
	return stat.Total / 20
}

// contextAge is the time for which the cache keeps the files of a build context. A later build does not use them,
// and BuildKit looks for old entries once a minute.
const contextAge = time.Minute

// gcPolicy returns rules that keep the cache below max bytes. They remove entries in this order: contexts, which
// no later build uses, cheap entries (cache mounts, Git checkouts), entries not used for 60 days, then the least
// recently used ones. The cache shrinks below a tenth of max only if the disk has less free space than free.
// https://docs.docker.com/build/cache/garbage-collection/
func gcPolicy(max, free int64) []client.PruneInfo {
	reserved := max / 10
	return []client.PruneInfo{
		{Filter: []string{"type==source.local"}, KeepDuration: contextAge},
		{
			Filter:       []string{"type==exec.cachemount", "type==source.git.checkout"},
			KeepDuration: 7 * 24 * time.Hour,
			MaxUsedSpace: max / 4,
		},
		{KeepDuration: 60 * 24 * time.Hour, ReservedSpace: reserved, MaxUsedSpace: max, MinFreeSpace: free},
		{ReservedSpace: reserved, MaxUsedSpace: max, MinFreeSpace: free},
		{All: true, ReservedSpace: reserved, MaxUsedSpace: max, MinFreeSpace: free},
	}
}
