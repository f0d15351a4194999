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

	"slipway/config/process"
	"slipway/config/text"
	"slipway/runner/sandbox/crashsafe"
)

// cacheVolume is the directory of the cache if a volume is mounted there and no setting names one.
const cacheVolume = "/var/lib/slipway/builder"

// maxReason is the longest error in a line of the log, in bytes.
const maxReason = 500

// A LocalCache is the setting for the cache directory of a step's own builder. The zero value means cacheVolume if
// a volume is mounted there, else a directory that is deleted with the builder.
type LocalCache struct {
	Off    bool   // delete the cache with the builder, even if there is a volume
	Dir    string // absolute path; empty = see above
	Origin string // name of the setting that Dir comes from, for example PLUGIN_STATE
}

// A cacheChoice is the directory of a builder's cache, and the reason for the log.
type cacheChoice struct {
	dir  string // empty = the cache is deleted with the builder
	name string // dir and its origin, for example "/cache (PLUGIN_STATE)"
	line string // line for the log
}

// cacheDir describes a directory for resolveCache.
type cacheDir struct {
	exists   bool
	mounted  bool // something is mounted there, so that it outlives the step
	writable bool
	filled   bool // an earlier builder left a cache in it
	// damaged is the reason why the builder is going to delete that cache; empty = it is usable.
	damaged string
}

// resolve chooses the directory. It creates a directory that a setting names.
func (s LocalCache) resolve() (cacheChoice, error) {
	if s.Dir == "" {
		return s.choose(readCacheDir(cacheVolume)), nil
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return cacheChoice{}, fmt.Errorf("%s: create the directory for the builder's cache: %w", s.Origin, err)
	}
	dir := readCacheDir(s.Dir)
	if !dir.writable {
		return cacheChoice{}, fmt.Errorf(
			"%s: the directory for the builder's cache, %s, is not writable: "+
				"mount a volume there that this step can write, or remove the setting",
			s.Origin,
			s.Dir,
		)
	}
	return s.choose(dir), nil
}

// choose decides whether to use a directory. Without a setting, the directory must be a mount. Outside a
// container, a plain directory may belong to another builder. In a container, it is deleted with the
// step.
func (s LocalCache) choose(dir cacheDir) cacheChoice {
	const lost = "its cache is deleted with this step"
	choice := cacheChoice{dir: s.Dir, name: s.Dir + " (" + s.Origin + ")"}
	switch {
	case s.Off:
		return cacheChoice{line: lost + ": PLUGIN_STATE is off"}
	case s.Dir != "":
	case !dir.exists || !dir.mounted:
		return cacheChoice{line: lost + "; a volume at " + cacheVolume + " would keep it"}
	case !dir.writable:
		return cacheChoice{line: lost + ": the volume at " + cacheVolume + " cannot be written"}
	default:
		choice = cacheChoice{dir: cacheVolume, name: cacheVolume + " (a volume is there)"}
	}
	choice.line = "its cache is in " + choice.name + ", as earlier steps left it"
	switch {
	case dir.damaged != "":
		choice.line = "its cache in " + choice.name + " starts empty: the earlier one is deleted, because " + dir.damaged
	case !dir.filled:
		choice.line = "its cache is in " + choice.name + ", which was empty; later steps use it too"
	}
	return choice
}

// fallbackLine returns the log line for a step that starts with an empty cache because of err.
func (c cacheChoice) fallbackLine(err error) string {
	if errors.Is(err, process.ErrStateLocked) {
		return "another step is using the cache in " + c.name +
			"; this one starts with an empty cache, which is deleted with the step"
	}
	const format = "the cache in %s cannot be used, so this step starts with an empty one, " +
		"which is deleted with the step: %s"
	return fmt.Sprintf(format, c.name, text.OneLine(err.Error(), maxReason))
}

func readCacheDir(path string) (d cacheDir) {
	info, err := os.Stat(path)
	d.exists = err == nil && info.IsDir()
	d.writable = d.exists && unix.Access(path, unix.W_OK|unix.X_OK) == nil
	d.mounted = d.exists && isMount(path)
	_, err = os.Stat(filepath.Join(path, "cache.db"))
	d.filled = err == nil
	if d.exists {
		d.damaged, _ = crashsafe.Check(path, ThisMachine()) // the builder reports the error
	}
	return d
}

// isMount reports whether something is mounted at a directory. Before Linux 5.8 the kernel does not
// report this; then isMount compares the file systems of the directory and its parent.
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

// A bufferedOutput buffers the output of a builder until release. It is safe for concurrent use.
type bufferedOutput struct {
	mu       sync.Mutex
	to       io.Writer
	buffer   bytes.Buffer
	released bool
}

func (b *bufferedOutput) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.released {
		return b.to.Write(p)
	}
	return b.buffer.Write(p)
}

// release writes the buffer to the underlying writer. Later writes are not buffered.
func (b *bufferedOutput) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, _ = b.buffer.WriteTo(b.to)
	b.released = true
}
