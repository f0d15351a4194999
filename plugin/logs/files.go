package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"slipway/config/durable"
	"slipway/plugin/autobuild"
)

// files stores logs as <dir>/<build>/<attempt>.log. A file <attempt>.log.own contains the number
// of bytes that the gateway itself wrote into the log. So the offsets of a runner count only the
// runner's bytes.
type files struct{ dir string }

func (k files) path(n name) string {
	return filepath.Join(k.dir, n.build, strconv.Itoa(n.attempt)+".log")
}

// write appends the addition that next returns. The caller serializes the writes to one log.
func (k files) write(
	_ context.Context,
	n name,
	next func(autobuild.LogEnd) (autobuild.LogAddition, error),
) (err error) {
	path := k.path(n)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	end, err := endOf(f, path)
	if err != nil {
		return err
	}
	add, err := next(end)
	if err != nil || len(add.Data) == 0 {
		return err
	}
	// Count the gateway's bytes before they are written. After a crash in between, a runner sends
	// some bytes again; in the other order bytes would be lost.
	if add.Own > 0 {
		own := strconv.FormatInt(end.Own+add.Own, 10)
		if err := durable.WriteFile(path+".own", []byte(own), 0o600); err != nil {
			return err
		}
	}
	_, err = f.WriteAt(add.Data, end.Size)
	return err
}

// endOf returns the end of the log in f, which is the file at path.
func endOf(f *os.File, path string) (end autobuild.LogEnd, err error) {
	info, err := f.Stat()
	if err != nil {
		return end, err
	}
	end.Size = info.Size()
	end.Own, err = readOwn(path)
	// A power loss may take the last bytes of the log, but not their count.
	end.Own = min(end.Own, end.Size)
	if err != nil || end.Size == 0 {
		return end, err
	}
	last := make([]byte, 1)
	_, err = f.ReadAt(last, end.Size-1)
	end.MidLine = last[0] != '\n'
	return end, err
}

// readOwn returns the number of the gateway's own bytes in the log at path.
func readOwn(path string) (int64, error) {
	text, err := os.ReadFile(path + ".own")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil || len(text) == 0 { // a power loss emptied files of earlier releases
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

func (k files) read(_ context.Context, n name, offset int64, max int) ([]byte, error) {
	f, err := os.Open(k.path(n))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data := make([]byte, max)
	got, err := f.ReadAt(data, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return data[:got], nil
}

func (k files) size(_ context.Context, n name) int64 {
	info, err := os.Stat(k.path(n))
	if err != nil {
		return 0
	}
	return info.Size()
}

func (k files) prune(ctx context.Context, keep func(buildID string) bool) error {
	entries, err := os.ReadDir(k.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list logs: %w", err)
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !e.IsDir() || keep(e.Name()) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(k.dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
