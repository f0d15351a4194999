package buildcontext

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tonistiigi/fsutil/types"
)

// hardLinks finds files that are the same file. fsutil finds them by the number of the inode alone. But below
// a context there may be several file systems, for example volumes of a CI, and each has an inode of the same
// number. It is for one walk.
type hardLinks struct {
	dir   string
	first map[fileID]string // the first path of each file with several names
}

// A fileID identifies a file of this machine.
type fileID struct{ device, inode uint64 }

// correct returns the description of a file with the right link target.
func (l *hardLinks) correct(path string, info fs.FileInfo) (fs.FileInfo, error) {
	stat, ok := info.Sys().(*types.Stat)
	if !ok {
		return nil, fmt.Errorf("read the build context: %s has a description of type %T", path, info.Sys())
	}
	if stat.Linkname == "" || info.Mode()&fs.ModeSymlink != 0 {
		return info, nil
	}
	own, err := l.identify(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errVanished
	}
	if err != nil {
		return nil, err
	}
	stat.Linkname = l.target(own, path, stat.Linkname)
	return info, nil
}

// target returns the path that the file is a link to; "" = it is the first name of its file. claimed is the
// path that fsutil has found.
func (l *hardLinks) target(own fileID, path, claimed string) string {
	first, known := l.first[own]
	if !known {
		first = path
		if other, err := l.identify(claimed); err == nil && other == own {
			first = claimed
		}
		l.first[own] = first
	}
	if first == path {
		return ""
	}
	return first
}

func (l *hardLinks) identify(path string) (fileID, error) {
	info, err := os.Lstat(filepath.Join(l.dir, path))
	if err != nil {
		return fileID{}, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}, fmt.Errorf("read the build context: %s has no inode", path)
	}
	return fileID{device: stat.Dev, inode: stat.Ino}, nil
}
