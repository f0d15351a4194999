package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/cache/contenthash"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/snapshot"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/source"
	"github.com/moby/buildkit/source/local"
	"github.com/moby/buildkit/worker/base"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
	"golang.org/x/sys/unix"

	"slipway/runner/builder"
)

// readContext lets builds have their context of a directory of this machine. Its client would send
// it file by file, by a connection that is in another one, to a builder that has nothing of it yet.
func readContext(w *base.Worker, dir string) error {
	clients, err := local.NewSource(local.Opt{CacheAccessor: w.CacheMgr})
	if err != nil {
		return fmt.Errorf("read context: %w", err)
	}
	w.SourceManager.Register(contextSource{Source: clients, cache: w.CacheMgr, dir: dir})
	return nil
}

// A contextSource is BuildKit's source of clients' directories, but for the context.
type contextSource struct {
	source.Source
	cache cache.Accessor
	dir   string
}

// Resolve is source.Source's.
func (s contextSource) Resolve(ctx context.Context, id source.Identifier, sessions *session.Manager, vertex solver.Vertex) (source.SourceInstance, error) {
	clients, err := s.Source.Resolve(ctx, id, sessions, vertex)
	if asked, ok := id.(*local.LocalIdentifier); err == nil && ok && asked.Name == builder.ContextName && !asked.MetadataOnly {
		return contextCopy{SourceInstance: clients, of: s, asked: asked}, nil
	}
	return clients, err
}

// A contextCopy makes a context of what the directory has.
type contextCopy struct {
	source.SourceInstance // makes it of what the client sends
	of                    contextSource
	asked                 *local.LocalIdentifier
}

// Snapshot is source.SourceInstance's. What this builder cannot read, as other users' files in a
// user namespace, its client may, which then sends all of it.
func (c contextCopy) Snapshot(ctx context.Context, job solver.JobContext) (cache.ImmutableRef, error) {
	said := startTransfer(ctx)
	ref, err := c.copy(ctx, said)
	if err == nil || ctx.Err() != nil || errors.Is(err, unix.ENOSPC) {
		said.end()
		return ref, err
	}
	said.fail(err)
	said.end()
	return c.SourceInstance.Snapshot(ctx, job)
}

func (c contextCopy) copy(ctx context.Context, said *transfer) (_ cache.ImmutableRef, err error) {
	files, err := c.files()
	if err != nil {
		return nil, err
	}
	ref, err := c.of.cache.New(ctx, nil, nil, cache.CachePolicyRetain,
		cache.WithRecordType(client.UsageRecordTypeLocalSource), cache.WithDescription("local source for "+builder.ContextName))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			contenthash.ClearCacheContext(ref)
			err = errors.Join(err, ref.SetCachePolicyDefault(), ref.Release(context.WithoutCancel(ctx)))
		}
	}()
	if err := fill(ctx, ref, files, said); err != nil {
		return nil, err
	}
	return ref.Commit(ctx)
}

// files are those that the Dockerfile may ask for; all are root's, as of any client.
func (c contextCopy) files() (fsutil.FS, error) {
	dir, err := fsutil.NewFS(c.of.dir)
	if err != nil {
		return nil, err
	}
	ofRoot := func(_ string, stat *types.Stat) fsutil.MapResult {
		stat.Uid, stat.Gid = 0, 0
		return fsutil.MapResultKeep
	}
	files, err := fsutil.NewFilterFS(dir, &fsutil.FilterOpt{
		IncludePatterns: c.asked.IncludePatterns, ExcludePatterns: c.asked.ExcludePatterns, FollowPaths: c.asked.FollowPaths, Map: ofRoot,
	})
	if err != nil {
		return nil, err
	}
	return fsutil.WithHardlinkReset(files), nil
}

// fill copies the files, and notes their hashes, which later steps are looked up by.
func fill(ctx context.Context, ref cache.MutableRef, files fsutil.FS, said *transfer) (err error) {
	hashes, err := contenthash.GetCacheContext(ctx, ref)
	if err != nil {
		return err
	}
	mount, err := ref.Mount(ctx, false, nil)
	if err != nil {
		return err
	}
	mounter := snapshot.LocalMounter(mount)
	dir, err := mounter.Mount()
	if err != nil {
		return err
	}
	err = copyFiles(ctx, files, dir, func(kind fsutil.ChangeKind, path string, info fs.FileInfo, err error) error {
		said.add(info.Size())
		return hashes.HandleChange(kind, path, info, err)
	})
	if failed := mounter.Unmount(); err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	return contenthash.SetCacheContext(ctx, ref, hashes)
}
