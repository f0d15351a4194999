package buildcontext

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"maps"
	"slices"

	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
)

// Bounds of the content that Hash reads. A directory of this size takes about a second.
const (
	maxHashFiles = 20_000
	maxHashBytes = 256 << 20
)

// errTooLarge is the error of Hash for a directory that is larger than the bounds.
var errTooLarge = errors.New("the build context is too large to be hashed")

// Hash returns a hash of the directory: of the names, modes, link targets, extended attributes and contents
// of all files but those that patterns exclude. Dates and owners do not count. It fails if a file cannot be
// read, or if the directory is too large for a quick answer.
func (d *Dir) Hash(ctx context.Context, exclude []string) (string, error) {
	files, err := fsutil.NewFilterFS(d, &fsutil.FilterOpt{ExcludePatterns: exclude})
	if err != nil {
		return "", err
	}
	h := hasher{sum: sha256.New(), files: files, buffer: make([]byte, 64<<10)}
	err = files.Walk(ctx, "/", func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return h.add(info)
	})
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(h.sum.Sum(nil)), nil
}

// A hasher hashes files.
type hasher struct {
	sum    hash.Hash
	files  fsutil.FS
	buffer []byte
	count  int
	bytes  int64
}

// add hashes a file.
func (h *hasher) add(info fs.FileInfo) error {
	stat, ok := info.Sys().(*types.Stat)
	if !ok {
		return errors.ErrUnsupported
	}
	h.count++
	if h.count > maxHashFiles {
		return errTooLarge
	}
	h.writeField([]byte(stat.Path))
	h.writeField([]byte(stat.Linkname))
	h.writeNumbers(int64(stat.Mode), stat.Devmajor, stat.Devminor, int64(len(stat.Xattrs)))
	for _, name := range slices.Sorted(maps.Keys(stat.Xattrs)) {
		h.writeField([]byte(name))
		h.writeField(stat.Xattrs[name])
	}
	if !info.Mode().IsRegular() || stat.Linkname != "" {
		return nil
	}
	return h.addContent(stat.Path)
}

// addContent hashes the content of a file and then its length, so that the end of the content is clear.
func (h *hasher) addContent(path string) error {
	file, err := h.files.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	content := struct{ io.Reader }{io.LimitReader(file, maxHashBytes-h.bytes+1)}
	n, err := io.CopyBuffer(struct{ io.Writer }{h.sum}, content, h.buffer)
	h.bytes += n
	switch {
	case err != nil:
		return err
	case h.bytes > maxHashBytes:
		return errTooLarge
	}
	h.writeNumbers(n)
	return nil
}

// writeField hashes a text and its length.
func (h *hasher) writeField(text []byte) {
	h.writeNumbers(int64(len(text)))
	_, _ = h.sum.Write(text) // a hash returns no error
}

func (h *hasher) writeNumbers(numbers ...int64) {
	for _, n := range numbers {
		_ = binary.Write(h.sum, binary.LittleEndian, n) // a hash returns no error
	}
}
