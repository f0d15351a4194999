// Package localcontext makes a builder put each build context into an empty directory. BuildKit would change
// the files of an earlier context with the same key instead, and would keep files of equal size and date. The
// key is the client's, and says nothing about the content.
//
// A builder may also read the context from a directory of this machine. Otherwise the client sends it file by
// file, through a connection inside another one.
package localcontext

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/cache/contenthash"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/snapshot"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/source"
	"github.com/moby/buildkit/source/local"
	"github.com/moby/buildkit/worker/base"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
	"golang.org/x/sys/unix"

	"slipway/runner/buildcontext"
	"slipway/runner/buildkit"
)

// Register makes builds of a worker put each context into an empty directory. If dir is not empty, builds read
// their context from there, and not from their clients.
func Register(w *base.Worker, dir string) error {
	clients, err := local.NewSource(local.Opt{CacheAccessor: w.CacheMgr})
	if err != nil {
		return fmt.Errorf("read context: %w", err)
	}
	w.SourceManager.Register(contextSource{Source: clients, cache: w.CacheMgr, dir: dir})
	return nil
}

// A contextSource is BuildKit's source for directories of clients.
type contextSource struct {
	source.Source
	cache cache.Accessor
	dir   string // directory of the build context; empty = clients send it
}

// Resolve implements source.Source.
func (s contextSource) Resolve(
	ctx context.Context,
	id source.Identifier,
	sessions *session.Manager,
	vertex solver.Vertex,
) (source.SourceInstance, error) {
	request, ok := id.(*local.LocalIdentifier)
	if !ok {
		return s.Source.Resolve(ctx, id, sessions, vertex)
	}
	request = withOwnKey(request)
	clients, err := s.Source.Resolve(ctx, request, sessions, vertex)
	if err == nil && s.dir != "" && request.Name == buildkit.ContextName && !request.MetadataOnly {
		return contextCopy{SourceInstance: clients, source: s, request: request}, nil
	}
	return clients, err
}

// withOwnKey returns a request that finds no files of an earlier build. A request that wants all files again,
// whatever their dates, needs no key of its own: the frontend requests the Dockerfile and .dockerignore so.
func withOwnKey(request *local.LocalIdentifier) *local.LocalIdentifier {
	if request.Differ == fsutil.DiffNone {
		return request
	}
	own := *request
	own.SharedKeyHint += ":" + identity.NewID()
	return &own
}

// A contextCopy makes the snapshot of a context from the files of a directory.
type contextCopy struct {
	source.SourceInstance // the fallback: makes the snapshot from files that the client sends
	source                contextSource
	request               *local.LocalIdentifier
}

// Snapshot implements source.SourceInstance. If this builder cannot read the directory, the client sends
// all files instead. For example, a builder in a user namespace cannot read other users' files, but the
// client may be able to.
func (c contextCopy) Snapshot(ctx context.Context, job solver.JobContext) (cache.ImmutableRef, error) {
	progress := startTransfer(ctx)
	ref, err := c.copy(ctx, progress)
	if err == nil || ctx.Err() != nil || errors.Is(err, unix.ENOSPC) {
		progress.end()
		return ref, err
	}
	progress.fail(err)
	progress.end()
	return c.SourceInstance.Snapshot(ctx, job)
}

func (c contextCopy) copy(ctx context.Context, progress *transfer) (_ cache.ImmutableRef, err error) {
	files, err := c.files()
	if err != nil {
		return nil, err
	}
	recordType := cache.WithRecordType(client.UsageRecordTypeLocalSource)
	description := cache.WithDescription("local source for " + buildkit.ContextName)
	ref, err := c.source.cache.New(ctx, nil, nil, cache.CachePolicyRetain, recordType, description)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			contenthash.ClearCacheContext(ref)
			err = errors.Join(err, ref.SetCachePolicyDefault(), ref.Release(context.WithoutCancel(ctx)))
		}
	}()
	if err := fill(ctx, ref, files, progress); err != nil {
		return nil, err
	}
	return ref.Commit(ctx)
}

// files returns the files of the context that the Dockerfile may use. Their owner is root, as in a
// context that a client sends.
func (c contextCopy) files() (fsutil.FS, error) {
	dir, err := buildcontext.Open(c.source.dir, nil)
	if err != nil {
		return nil, err
	}
	ofRoot := func(_ string, stat *types.Stat) fsutil.MapResult {
		stat.Uid, stat.Gid = 0, 0
		return fsutil.MapResultKeep
	}
	files, err := fsutil.NewFilterFS(dir, &fsutil.FilterOpt{
		IncludePatterns: c.request.IncludePatterns,
		ExcludePatterns: c.request.ExcludePatterns,
		FollowPaths:     c.request.FollowPaths,
		Map:             ofRoot,
	})
	if err != nil {
		return nil, err
	}
	return fsutil.WithHardlinkReset(files), nil
}

// fill copies the files, and records their hashes. BuildKit finds cached steps by these hashes.
func fill(ctx context.Context, ref cache.MutableRef, files fsutil.FS, progress *transfer) (err error) {
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
		progress.add(info.Size())
		return hashes.HandleChange(kind, path, info, err)
	})
	if unmountErr := mounter.Unmount(); err == nil {
		err = unmountErr
	}
	if err != nil {
		return err
	}
	return contenthash.SetCacheContext(ctx, ref, hashes)
}
