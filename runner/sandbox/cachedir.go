package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"slipway/config/text"
)

// cacheVolume is where the cache of a step's own builder is kept if a volume is mounted there.
const cacheVolume = "/var/lib/slipway/builder"

// maxReason bounds the reason in a line of the log, in bytes.
const maxReason = 500

// A LocalCache says where the cache of a step's own builder is kept.
type LocalCache struct {
	Off    bool   // the cache ends with the step
	Dir    string // empty = the volume, if one is mounted
	Origin string // the setting that named Dir, for messages
}

// A cacheChoice is the directory with the cache of earlier steps, or none.
type cacheChoice struct {
	dir  string // empty = the cache ends with the step
	name string // dir, and what named it
	line string // for the log
}

// A cacheDir is what is known of a directory.
type cacheDir struct {
	exists   bool
	volume   bool // it is a mount of its own, so that it outlives the step
	writable bool
	filled   bool // an earlier builder left a cache in it
}

// choose finds the directory, and makes one that a setting names.
func (c LocalCache) choose() (cacheChoice, error) {
	if c.Dir == "" {
		return chooseCache(c, readCacheDir(cacheVolume)), nil
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return cacheChoice{}, fmt.Errorf("%s: the directory for the builder's cache cannot be made: %w", c.Origin, err)
	}
	found := readCacheDir(c.Dir)
	if !found.writable {
		return cacheChoice{}, fmt.Errorf(
			"%s: %s, the directory for the builder's cache, cannot be written: mount a volume there that this step may write, or leave it out",
			c.Origin,
			c.Dir,
		)
	}
	return chooseCache(c, found), nil
}

// chooseCache decides where the cache is. A directory that no setting names must be a volume: on a machine
// that is no container it may be another builder's, and in a container it ends with the step.
func chooseCache(c LocalCache, found cacheDir) cacheChoice {
	choice := cacheChoice{dir: c.Dir, name: c.Dir + " (" + c.Origin + ")"}
	switch {
	case c.Off:
		return cacheChoice{line: "its cache goes with this step, as PLUGIN_STATE says"}
	case choice.dir != "":
	case !found.exists || !found.volume:
		return cacheChoice{line: "its cache goes with this step; a volume at " + cacheVolume + " would keep it"}
	case !found.writable:
		return cacheChoice{line: "its cache goes with this step: the volume at " + cacheVolume + " cannot be written"}
	default:
		choice.dir = cacheVolume
		choice.name = cacheVolume + " (a volume is there)"
	}
	choice.line = "its cache is in " + choice.name + ", as earlier steps left it"
	if !found.filled {
		choice.line = "its cache is in " + choice.name + ", which was empty, and stays for later steps"
	}
	return choice
}

// unusable returns why this step does not use the cache.
func (c cacheChoice) unusable(err error) string {
	var locked *LockedError
	if errors.As(err, &locked) {
		return "another step is using the cache in " + c.name + "; this one starts with an empty cache, which goes with it"
	}
	return "the cache in " + c.name + " cannot be used, so this step starts with an empty one, which goes with it: " +
		text.OneLine(err.Error(), maxReason)
}

func readCacheDir(dir string) (d cacheDir) {
	info, err := os.Stat(dir)
	d.exists = err == nil && info.IsDir()
	d.writable = d.exists && unix.Access(dir, unix.W_OK|unix.X_OK) == nil
	d.volume = d.exists && isMount(dir)
	_, err = os.Stat(filepath.Join(dir, "cache.db"))
	d.filled = err == nil
	return d
}

// isMount reports whether something is mounted at a directory. Before Linux 5.8 the kernel does not say,
// so the file systems of the directory and its parent are compared.
func isMount(dir string) bool {
	var at, above unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, dir, 0, unix.STATX_BASIC_STATS, &at) != nil {
		return false
	}
	if at.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return at.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
	}
	err := unix.Statx(unix.AT_FDCWD, filepath.Dir(dir), 0, unix.STATX_BASIC_STATS, &above)
	return err == nil && (at.Dev_major != above.Dev_major || at.Dev_minor != above.Dev_minor)
}

// A bufferedOutput keeps a builder's output until release. It is safe for concurrent use.
type bufferedOutput struct {
	mu       sync.Mutex
	to       io.Writer
	kept     bytes.Buffer
	released bool
}

func (b *bufferedOutput) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.released {
		return b.to.Write(p)
	}
	return b.kept.Write(p)
}

// release writes what is kept, and passes on everything from then on.
func (b *bufferedOutput) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, _ = b.kept.WriteTo(b.to)
	b.released = true
}
