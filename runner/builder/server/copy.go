package server

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
	others, err := fsutil.NewDiskWriter(ctx, dir, fsutil.DiskWriterOpt{
		NotifyCb:      tell,
		ContentHasher: contenthash.NewFromStat,
		SyncDataCb:    func(context.Context, string, io.WriteCloser) error { return errors.ErrUnsupported }, // of regular files
	})
	if err != nil {
		return err
	}
	c := copier{files: files, dir: dir, tell: tell, buffers: sync.Pool{New: func() any { return new([copyBuffer]byte) }}}
	links, err := c.walk(ctx, others)
	if err != nil {
		return err
	}
	for _, link := range links { // what they link to is there now
		if err := others.HandleChange(fsutil.ChangeKindAdd, link.Path, &fsutil.StatInfo{Stat: link}, nil); err != nil {
			return err
		}
	}
	return others.Wait(ctx)
}

// A copier copies regular files.
type copier struct {
	files   fsutil.FS
	dir     string
	tell    fsutil.ChangeFunc
	buffers sync.Pool
}

// walk copies all but hard links, which it returns.
func (c *copier) walk(ctx context.Context, others *fsutil.DiskWriter) (links []*types.Stat, err error) {
	copies, ctx := errgroup.WithContext(ctx)
	copies.SetLimit(copiesAtOnce)
	err = c.files.Walk(ctx, "/", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*types.Stat)
		switch {
		case !ok || !info.Mode().IsRegular():
			return others.HandleChange(fsutil.ChangeKindAdd, path, info, nil)
		case stat.Linkname != "":
			links = append(links, stat)
		default:
			copies.Go(func() error { return c.copy(stat) })
		}
		return nil
	})
	if failed := copies.Wait(); failed != nil { // by which the walk may have ended, too
		err = failed
	}
	return links, err
}

// A copiedFile is a file as contenthash wants to be told of it.
type copiedFile struct {
	fs.FileInfo
	digest digest.Digest
}

// Digest is of the file's head and bytes.
func (f copiedFile) Digest() digest.Digest { return f.digest }

func (c *copier) copy(stat *types.Stat) error {
	hash, err := contenthash.NewFromStat(stat)
	if err != nil {
		return err
	}
	from, err := c.files.Open(stat.Path)
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
	// Both without their own ways to copy, which take a buffer of their own.
	_, err = io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(to, hash)}, struct{ io.Reader }{from}, buffer[:])
	if err == nil {
		err = describe(to, stat)
	}
	if closed := to.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return c.tell(fsutil.ChangeKindAdd, stat.Path, copiedFile{&fsutil.StatInfo{Stat: stat}, digest.NewDigest(digest.SHA256, hash)}, nil)
}

// describe gives a file all but its bytes, in fsutil's order: a change of owner takes set-uid bits
// and capabilities away.
func describe(file *os.File, stat *types.Stat) error {
	for name, value := range stat.Xattrs {
		_ = unix.Setxattr(file.Name(), name, value, 0) // not every file system has them
	}
	modified := time.Unix(0, stat.ModTime)
	return errors.Join(
		file.Chown(int(stat.Uid), int(stat.Gid)),
		file.Chmod(fs.FileMode(stat.Mode)),
		os.Chtimes(file.Name(), modified, modified),
	)
}
