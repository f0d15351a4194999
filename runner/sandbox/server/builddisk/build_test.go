package builddisk

import (
	"errors"
	"fmt"
	"testing"

	gatewaypb "github.com/moby/buildkit/frontend/gateway/pb"
)

func TestErrorsOfAFullDiskGetTheLimit(t *testing.T) {
	const reason = "the disk of the builder is full, limit 2 GB: SLIPWAY_BUILDER_DISK"
	s := Solver{Disk: &Disk{dir: t.TempDir(), limit: 2e9, size: 19e8}, State: t.TempDir()}
	exit := func(cause error) error {
		return fmt.Errorf("process sh: %w", &gatewaypb.ExitError{ExitCode: 1, Err: cause})
	}
	for name, c := range map[string]struct {
		err  error
		full bool
		want string
	}{
		"a COPY":            {errors.New("copy: no space left on device"), true, "copy: no space left on device: " + reason},
		"a RUN":             {exit(errors.New(reason)), true, "process sh: " + reason},
		"another error":     {errors.New("boom"), false, "boom"},
		"another RUN":       {exit(errors.New("no space left on device")), false, "process sh: no space left on device"},
		"a RUN with a text": {exit(errors.New("the text: " + reason)), false, "process sh: the text: " + reason},
	} {
		full, err := s.explain(c.err)
		if full != c.full {
			t.Errorf("%s: full: got %t, want %t", name, full, c.full)
		}
		if err.Error() != c.want {
			t.Errorf("%s: error: got %q, want %q", name, err, c.want)
		}
	}
}

func TestACacheLeavesAQuarterOfItsDiskFree(t *testing.T) {
	for name, c := range map[string]struct {
		disk                     *Disk
		limit, newLimit, newFree int64
	}{
		"no disk":       {nil, 100, 100, 7},
		"a large limit": {&Disk{size: 80}, 100, 60, 20},
		"a small limit": {&Disk{size: 80}, 10, 10, 20},
	} {
		limit, free := c.disk.CacheLimits(c.limit, 7)
		if limit != c.newLimit {
			t.Errorf("%s: limit: got %d, want %d", name, limit, c.newLimit)
		}
		if free != c.newFree {
			t.Errorf("%s: free: got %d, want %d", name, free, c.newFree)
		}
	}
}

func TestErrorsOfAWatchedBuildGetTheLimit(t *testing.T) {
	const reason = "the disk of the builder is full, limit 2 GB: SLIPWAY_BUILDER_DISK"
	w := NewWatch(t.TempDir(), 2e9, 1e9, nil)
	exit := func(cause error) error {
		return fmt.Errorf("process sh: %w", &gatewaypb.ExitError{ExitCode: 137, Err: cause})
	}
	for name, c := range map[string]struct {
		why  string
		err  error
		full bool
		want string
	}{
		"a killed RUN":    {"", exit(errors.New(reason)), true, "process sh: " + reason},
		"a canceled COPY": {reason, errors.New("context canceled"), true, "the build was canceled: " + reason},
		"a fast COPY": {
			"", errors.New("copy: no space left on device"), true,
			"copy: no space left on device: the disk of the builder is full: the machine has no free space: SLIPWAY_BUILDER_DISK",
		},
		"another error": {"", errors.New("boom"), false, "boom"},
		"another RUN":   {"", exit(errors.New("no space left on device")), false, "process sh: no space left on device"},
	} {
		full, err := w.explain(c.why, c.err)
		if full != c.full {
			t.Errorf("%s: full: got %t, want %t", name, full, c.full)
		}
		if err.Error() != c.want {
			t.Errorf("%s: error: got %q, want %q", name, err, c.want)
		}
	}
}
