// Package lfspointer finds pointers of Git LFS in a build context. A checkout has a pointer in place of a file
// if Git LFS did not fetch it. An image with such a pointer builds without an error, and does not work.
package lfspointer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/tonistiigi/fsutil"

	"slipway/runner/buildcontext"
)

// A pointer begins with these bytes, and is smaller than maxSize.
// Source: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md#the-pointer
const (
	beginning = "version https://git-lfs.github.com/spec/v1\n"
	identity  = "\noid sha256:"
	maxSize   = 1024
)

// enough ends a search early: a message names the first file only.
const enough = 100

// Find returns the pointers in a build context, sorted, as paths within it. It returns at most 100. It leaves
// out the files that the ignore file of the Dockerfile, or else of the context, leaves out, as BuildKit does.
// It follows no links, and leaves out unreadable files: the build itself fails if it needs one. An unreadable
// directory is an error that wraps fs.ErrPermission.
func Find(ctx context.Context, contextDir, dockerfile string) ([]string, error) {
	all, err := buildcontext.Open(contextDir, nil)
	if err != nil {
		return nil, fmt.Errorf("read the build context: %w", err)
	}
	ignore, err := all.ReadIgnore(dockerfile)
	if err != nil {
		return nil, err
	}
	sent, err := fsutil.NewFilterFS(all, &fsutil.FilterOpt{ExcludePatterns: ignore.Patterns})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", ignore.Name, err)
	}
	var found []string
	err = sent.Walk(ctx, "", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if len(found) == enough {
			return fs.SkipAll
		}
		is, err := isPointer(sent, path, entry)
		if is {
			found = append(found, path)
		}
		if errors.Is(err, fs.ErrPermission) {
			return nil
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.SkipAll) {
		return nil, fmt.Errorf("look for Git LFS pointers: %w", err)
	}
	slices.Sort(found)
	return found, nil
}

// isPointer reports whether a file is a pointer. The error of an unreadable file is a *buildcontext.ReadError.
func isPointer(files fsutil.FS, path string, entry fs.DirEntry) (bool, error) {
	if !entry.Type().IsRegular() {
		return false, nil
	}
	info, err := entry.Info()
	if err != nil {
		return false, err
	}
	if info.Size() < int64(len(beginning)) || info.Size() >= maxSize {
		return false, nil
	}
	file, err := files.Open(path)
	if err != nil {
		return false, err
	}
	defer func() { _ = file.Close() }()
	head, err := io.ReadAll(io.LimitReader(file, maxSize))
	if err != nil {
		return false, err
	}
	return bytes.HasPrefix(head, []byte(beginning)) && bytes.Contains(head, []byte(identity)), nil
}
