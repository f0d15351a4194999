package server

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/moby/buildkit/cache/contenthash"
	digest "github.com/opencontainers/go-digest"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const (
	copiesAtOnce = 8
	copyBuffer   = 64 << 10 // bytes
)

// copyFiles copies files into an empty directory as fsutil.Receive would have put them there, and
// tells of each, from several goroutines, with its hash. It opens a regular file once where fsutil
// comes back to it by its path five times, and copies several at once; all else is left to fsutil.
func copyFiles(ctx context.Context, files fsutil.FS, dir string, tell fsutil.ChangeFunc) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	others, err := fsutil.NewDiskWriter(ctx, dir, fsutil.DiskWriterOpt{
		NotifyCb:      tell,
		ContentHasher: contenthash.NewFromStat,
		SyncDataCb:    func(context.Context, string, io.WriteCloser) error { return errors.ErrUnsupported }, // of regular files
	})
	if err != nil {
		return err
	}
	c := copier{files: files, dir: dir, others: others, tell: tell, buffers: sync.Pool{New: func() any { return new([copyBuffer]byte) }}}
	if err := c.walk(ctx); err != nil {
		return err
	}
	for _, link := range c.links { // what they link to is there now
		if err := others.HandleChange(fsutil.ChangeKindAdd, link.Path, &fsutil.StatInfo{Stat: link}, nil); err != nil {
			return err
		}
	}
	return errors.Join(others.Wait(ctx), ctx.Err())
}

// A copier copies regular files, and leaves all else to others.
type copier struct {
	files   fsutil.FS
	dir     string
	others  *fsutil.DiskWriter
	tell    fsutil.ChangeFunc
	buffers sync.Pool

	// Of the walk. A repository may be changed while it is copied: what was a directory when it was
	// listed may be a link when its files are to be written.
	order  fsutil.Validator
	linked fsutil.Hardlinks
	links  []*types.Stat // hard links, which come last
}

// walk copies all but hard links, and returns when no copy is under way any more.
func (c *copier) walk(ctx context.Context) error {
	copies, copying := errgroup.WithContext(ctx)
	copies.SetLimit(copiesAtOnce)
	var failed error // the first; Walk goes on where something is not there, be it in the directory that is written
	walked := c.files.Walk(copying, "/", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if failed == nil {
			failed = c.visit(path, info, func(stat *types.Stat) { copies.Go(func() error { return c.copy(copying, stat) }) })
		}
		return failed
	})
	return cmp.Or(copies.Wait(), failed, walked, ctx.Err())
}

// visit starts the copy of a regular file, and makes what else there is but hard links.
func (c *copier) visit(path string, info fs.FileInfo, start func(*types.Stat)) error {
	if err := c.order.HandleChange(fsutil.ChangeKindAdd, path, info, nil); err != nil {
		return err
	}
	if err := c.linked.HandleChange(fsutil.ChangeKindAdd, path, info, nil); err != nil {
		return err
	}
	stat, ok := info.Sys().(*types.Stat)
	switch {
	case !ok || !info.Mode().IsRegular():
		return c.others.HandleChange(fsutil.ChangeKindAdd, path, info, nil)
	case stat.Linkname != "":
		c.links = append(c.links, stat)
	default:
		start(stat)
	}
	return nil
}

// A copiedFile is a file as contenthash wants to be told of it.
type copiedFile struct {
	fs.FileInfo
	digest digest.Digest
}

// Digest is of the file's head and bytes.
func (f copiedFile) Digest() digest.Digest { return f.digest }

func (c *copier) copy(ctx context.Context, stat *types.Stat) error {
	hash, err := contenthash.NewFromStat(stat)
	if err != nil {
		return err
	}
	from, err := openFile(c.files, stat.Path)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	to, err := os.OpenFile(filepath.Join(c.dir, stat.Path), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	buffer := c.buffers.Get().(*[copyBuffer]byte)
	defer c.buffers.Put(buffer)
	err = describe(to, stat)
	if err == nil {
		_, err = io.CopyBuffer(io.MultiWriter(to, hash), cancellable{ctx, from}, buffer[:])
	}
	if closed := to.Close(); err == nil {
		err = closed
	}
	modified := time.Unix(0, stat.ModTime)
	if err == nil {
		err = os.Chtimes(to.Name(), modified, modified)
	}
	if err != nil {
		return err
	}
	return c.tell(fsutil.ChangeKindAdd, stat.Path, copiedFile{&fsutil.StatInfo{Stat: stat}, digest.NewDigest(digest.SHA256, hash)}, nil)
}

// openFile opens a file. One that is gone, and a socket, which cannot be opened, are empty, as
// fsutil.Send has them.
func openFile(files fsutil.FS, path string) (io.ReadCloser, error) {
	file, err := files.Open(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENXIO) {
		return io.NopCloser(strings.NewReader("")), nil
	}
	return file, err
}

// describe gives a file all but its bytes and its time, in fsutil's order: a change of owner takes set-uid
// bits and capabilities away, and so does, in a user namespace, what is written then.
func describe(file *os.File, stat *types.Stat) error {
	for name, value := range stat.Xattrs {
		_ = unix.Fsetxattr(int(file.Fd()), name, value, 0) // not every file system has them
	}
	return errors.Join(file.Chown(int(stat.Uid), int(stat.Gid)), file.Chmod(fs.FileMode(stat.Mode)))
}

// A cancellable reader ends with its context.
type cancellable struct {
	ctx  context.Context //nolint:containedctx // of the one copy that reads
	from io.Reader
}

func (r cancellable) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.from.Read(p)
}
