package buildkit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"

	"github.com/moby/buildkit/identity"
	"github.com/tonistiigi/fsutil"

	"slipway/runner/buildcontext"
)

// chunkSize is the largest part of a file that is sent in one message, in bytes. A chunk and its header
// of at most 12 bytes fit into 32 KiB. For a larger message gRPC uses a buffer of 1 MiB, and clears it
// for each message (google.golang.org/grpc/mem.DefaultBufferPool).
const chunkSize = 32<<10 - 64

// chunkedFS is a directory whose files are sent in chunks. fsutil sends one message for each Read, so
// a Read returns at most chunkSize bytes.
type chunkedFS struct{ *buildcontext.Dir }

var _ fsutil.FS = chunkedFS{}

// Open opens a file of the directory.
func (d chunkedFS) Open(path string) (io.ReadCloser, error) {
	file, err := d.Dir.Open(path)
	if err != nil {
		return nil, err
	}
	return chunkReader{file}, nil
}

type chunkReader struct{ io.ReadCloser }

func (r chunkReader) Read(p []byte) (int, error) {
	return r.ReadCloser.Read(p[:min(len(p), chunkSize)])
}

// dirs are the directories that the client sends, by the names that the Dockerfile frontend requests.
type dirs map[string]*buildcontext.Dir

// openDirs opens the directories of a build. failed is called at a file that cannot be read; it may be nil.
func (r Request) openDirs(failed func()) (dirs, error) {
	paths := map[string]string{ContextName: r.Context, dockerfileMount: filepath.Dir(r.Dockerfile)}
	for _, c := range r.Options.Contexts {
		if c.Dir != "" {
			paths[namedMount(c)] = c.Dir
		}
	}
	sent := dirs{}
	for name, path := range paths {
		dir, err := buildcontext.Open(path, failed)
		if err != nil {
			return nil, fmt.Errorf("open the directory of %s: %w", name, err)
		}
		sent[name] = dir
	}
	return sent, nil
}

// dockerfileMount is the name of the Dockerfile's directory.
const dockerfileMount = "dockerfile"

// mounts returns the directories as BuildKit's client takes them.
func (d dirs) mounts() map[string]fsutil.FS {
	mounts := map[string]fsutil.FS{}
	for name, dir := range d {
		mounts[name] = chunkedFS{dir}
	}
	return mounts
}

// unread returns the first file of a directory that the builder needed and that could not be read, or nil.
func (d dirs) unread() *buildcontext.ReadError {
	for _, dir := range d {
		if err := dir.Err(); err != nil {
			return err
		}
	}
	return nil
}

// sharedKey returns the key under which a builder keeps the sent files for later builds. A builder with the
// key compares sizes and dates only, so a later build may get other content. So the key of a foreign builder
// has a hash of all content, and is random for a large context: then all files are sent. Slipway's builder
// receives each context into an empty directory, whatever the key.
func (c *Client) sharedKey(ctx context.Context, r Request) string {
	if c.fresh {
		return r.SharedKey
	}
	key, err := r.hashContent(ctx)
	if err != nil {
		key = identity.NewID()
	}
	return r.SharedKey + ":" + key
}

// hashContent returns a hash of all directories but that of the Dockerfile, which every build sends whole. It opens
// them again, because an error of the hash does not end the build.
func (r Request) hashContent(ctx context.Context) (string, error) {
	sent, err := r.openDirs(nil)
	if err != nil {
		return "", err
	}
	delete(sent, dockerfileMount)
	all := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(sent)) {
		var ignore buildcontext.Ignore
		if name == ContextName {
			if ignore, err = sent[name].ReadIgnore(r.Dockerfile); err != nil {
				return "", err
			}
		}
		sum, err := sent[name].Hash(ctx, ignore.Patterns)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(all, "%s %s\n", sum, name)
	}
	return hex.EncodeToString(all.Sum(nil)), nil
}
