package runner

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"slipway/runner/sandbox"
)

// stateVolume is where the cache of a step's own builder stays if a volume is mounted there.
const stateVolume = "/var/lib/slipway/builder"

// A keptState is a directory with the cache of earlier steps' builders.
type keptState struct {
	dir  string // empty = there is none
	name string // dir, and what named it
	line string // what the log says of it
}

// stateFacts are what the choice of a state rests on.
type stateFacts struct {
	there    bool // the directory is
	volume   bool // it is a mount of its own, so that it outlives the step
	writable bool
	filled   bool // an earlier builder left a cache in it
}

// keptState finds the directory, and makes one that a setting names.
func (o ownBuilder) keptState() (keptState, error) {
	if o.State.Dir == "" {
		return chooseState(o, readState(stateVolume)), nil
	}
	if err := os.MkdirAll(o.State.Dir, 0o700); err != nil {
		return keptState{}, fmt.Errorf("%s: the directory for the builder's cache cannot be made: %w", o.Origin, err)
	}
	facts := readState(o.State.Dir)
	if !facts.writable {
		return keptState{}, fmt.Errorf(
			"%s: %s, the directory for the builder's cache, cannot be written: mount a volume there that this step may write, or leave it out",
			o.Origin,
			o.State.Dir,
		)
	}
	return chooseState(o, facts), nil
}

// chooseState decides where the cache is. A directory that no setting names must be a volume: on
// a machine that is no container it may be another builder's, and in one it goes with the step.
func chooseState(o ownBuilder, f stateFacts) keptState {
	k := keptState{dir: o.State.Dir, name: o.State.Dir + " (" + o.Origin + ")"}
	switch {
	case o.State.Off:
		return keptState{line: "its cache goes with this step, as PLUGIN_STATE says"}
	case k.dir != "":
	case !f.there || !f.volume:
		return keptState{line: "its cache goes with this step; a volume at " + stateVolume + " would keep it"}
	case !f.writable:
		return keptState{line: "its cache goes with this step: the volume at " + stateVolume + " cannot be written"}
	default:
		k.dir, k.name = stateVolume, stateVolume+" (a volume is there)"
	}
	k.line = "its cache is in " + k.name + ", as earlier steps left it"
	if !f.filled {
		k.line = "its cache is in " + k.name + ", which was empty, and stays for later steps"
	}
	return k
}

// without says why this step does without the state.
func (k keptState) without(err error) string {
	var locked *sandbox.LockedError
	if errors.As(err, &locked) {
		return "another step is using the cache in " + k.name + "; this one starts with an empty cache, which goes with it"
	}
	return "the cache in " + k.name + " cannot be used, so this step starts with an empty one, which goes with it: " + oneLine(
		err,
	)
}

func readState(dir string) (f stateFacts) {
	info, err := os.Stat(dir)
	f.there = err == nil && info.IsDir()
	f.writable = f.there && unix.Access(dir, unix.W_OK|unix.X_OK) == nil
	f.volume = f.there && isMount(dir)
	_, err = os.Stat(filepath.Join(dir, "cache.db"))
	f.filled = err == nil
	return f
}

// isMount reports whether something is mounted at a directory. A kernel that does not tell
// (before Linux 5.8) leaves comparing file systems.
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

// A heldOutput keeps what a builder says until it is known to run. It is safe for concurrent use.
type heldOutput struct {
	mu   sync.Mutex
	to   io.Writer
	held bytes.Buffer
	free bool
}

func (h *heldOutput) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.free {
		return h.to.Write(p)
	}
	return h.held.Write(p)
}

func (h *heldOutput) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, _ = h.held.WriteTo(h.to)
	h.free = true
}
