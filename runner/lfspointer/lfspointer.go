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
	"os"
	"path/filepath"
	"slices"

	"github.com/moby/patternmatcher/ignorefile"
	"github.com/tonistiigi/fsutil"
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
// It follows no links.
func Find(ctx context.Context, contextDir, dockerfile string) ([]string, error) {
	ignored, err := ignoredPatterns(contextDir, dockerfile)
	if err != nil {
		return nil, err
	}
	all, err := fsutil.NewFS(contextDir)
	if err != nil {
		return nil, fmt.Errorf("read the build context: %w", err)
	}
	sent, err := fsutil.NewFilterFS(all, &fsutil.FilterOpt{ExcludePatterns: ignored})
	if err != nil {
		return nil, fmt.Errorf("read .dockerignore: %w", err)
	}
	var found []string
	err = sent.Walk(ctx, "", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if len(found) == enough {
			return fs.SkipAll
		}
		if is, err := isPointer(filepath.Join(contextDir, path), entry); err != nil || !is {
			return err
		}
		found = append(found, path)
		return nil
	})
	if err != nil && !errors.Is(err, fs.SkipAll) {
		return nil, fmt.Errorf("look for Git LFS pointers in the build context: %w", err)
	}
	slices.Sort(found)
	return found, nil
}

// ignoredPatterns reads the ignore file beside the Dockerfile, or else that of the context.
// Source: https://docs.docker.com/build/concepts/context/#filename-and-location
func ignoredPatterns(contextDir, dockerfile string) ([]string, error) {
	for _, file := range []string{dockerfile + ".dockerignore", filepath.Join(contextDir, ".dockerignore")} {
		content, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		patterns, err := ignorefile.ReadAll(bytes.NewReader(content))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", filepath.Base(file), err)
		}
		return patterns, nil
	}
	return nil, nil
}

func isPointer(path string, entry fs.DirEntry) (bool, error) {
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
	file, err := os.Open(path)
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
