package buildcontext

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	continuity "github.com/containerd/continuity/fs"
	"github.com/moby/patternmatcher/ignorefile"
)

// ignoreName is the name of the file with patterns of files that do not belong to the context.
const ignoreName = ".dockerignore"

// An ignoreFile is a file of patterns.
type ignoreFile struct{ dir, name string }

// ignoreFiles returns the files of patterns in the order of their precedence.
// https://docs.docker.com/build/concepts/context/#filename-and-location
func (d *Dir) ignoreFiles(dockerfile string) []ignoreFile {
	return []ignoreFile{
		{filepath.Dir(dockerfile), filepath.Base(dockerfile) + ignoreName},
		{d.path, ignoreName},
	}
}

// An Ignore has the patterns of files that do not belong to a context. The zero value has none.
type Ignore struct {
	Name     string // name of the file that has them, for example .dockerignore; empty = there is no file
	Patterns []string
}

// ReadIgnore reads the patterns for a build context, which come from one file. dockerfile is the path of the
// Dockerfile. An unreadable file is an error, and a link out of its directory counts as absent, as for BuildKit.
func (d *Dir) ReadIgnore(dockerfile string) (Ignore, error) {
	for _, file := range d.ignoreFiles(dockerfile) {
		text, err := file.read()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Ignore{}, fmt.Errorf("read %s: %w", file.name, err)
		}
		patterns, err := ignorefile.ReadAll(bytes.NewReader(text))
		if err != nil {
			return Ignore{}, fmt.Errorf("read %s: %w", file.name, err)
		}
		return Ignore{Name: file.name, Patterns: patterns}, nil
	}
	return Ignore{}, nil
}

// UnusedIgnoreFile returns the name of a file of patterns that has no effect, because it is a link out of its
// directory or to no file; "" = there is none. BuildKit treats it as absent.
func (d *Dir) UnusedIgnoreFile(dockerfile string) string {
	for _, file := range d.ignoreFiles(dockerfile) {
		info, err := os.Lstat(filepath.Join(file.dir, file.name))
		if err != nil || info.Mode()&fs.ModeSymlink == 0 {
			continue
		}
		if _, err := file.read(); errors.Is(err, fs.ErrNotExist) {
			return file.name
		}
	}
	return ""
}

// maxIgnore bounds a file of patterns, in bytes. BuildKit gets it in one message of gRPC, with the same limit.
const maxIgnore = 16 << 20

// read follows symbolic links as BuildKit does: within the directory. It reads only a regular file: a pipe
// may have no end.
func (f ignoreFile) read() ([]byte, error) {
	path, err := continuity.RootPath(f.dir, f.name)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a file")
	case info.Size() > maxIgnore:
		return nil, fmt.Errorf("it has more than %d bytes", maxIgnore)
	}
	return os.ReadFile(path)
}
