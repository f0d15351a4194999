package builder

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"
)

// A Finding is one line of what `slipway doctor` says about the builder.
type Finding struct {
	Name   string // mode, runtime, network, state
	OK     bool
	Detail string // what was found
	Mend   string // the one thing to change; empty when OK
}

// Names of findings.
const (
	findingMode  = "mode"
	findingState = "state"
)

const mendRoom = "set TMPDIR to a directory on a larger file system, as a volume"

// ProbeOptions are what a builder would be told, as far as Probe looks at it. All may be empty.
type ProbeOptions struct {
	State      string // directory of the cache
	Network    string // of RUN steps; empty = NetworkAuto
	OCIRuntime string // path or name; empty = runc
}

// Probe tells, within a second and without starting a builder, how one would run here.
// The first finding is the mode. It goes by what this process may do, which a builder that
// starts tries: only there it shows what a container forbids besides.
func Probe(ctx context.Context, o ProbeOptions) []Finding {
	findings := []Finding{probeMode(planIsolation(readMachine())), probeRuntime(ctx, o.OCIRuntime), probeNetwork(o.Network)}
	if ctx.Err() == nil && o.State != "" {
		findings = append(findings, probeState(o.State))
	}
	return findings
}

func probeMode(plan isolationPlan) Finding {
	if len(plan.ways) == 0 {
		return Finding{Name: findingMode, Detail: plan.why(), Mend: plan.mend}
	}
	return Finding{Name: findingMode, OK: true, Detail: plan.ways[0].String()}
}

func probeRuntime(ctx context.Context, name string) Finding {
	path, err := FindRuntime(ctx, name)
	if err != nil {
		return Finding{Name: "runtime", Detail: err.Error(), Mend: "apt-get install runc"}
	}
	return Finding{Name: "runtime", OK: true, Detail: path}
}

func probeNetwork(asked string) Finding {
	if asked == "" {
		asked = NetworkAuto
	}
	plan, err := PlanNetwork(asked, ReadNetworkFacts(Privileged()))
	switch {
	case err != nil:
		return Finding{Name: "network", Detail: err.Error(), Mend: "apt-get install containernetworking-plugins iptables slirp4netns"}
	case asked == NetworkAuto && plan.Mode == NetworkNone:
		return Finding{Name: "network", Detail: "RUN steps have no network: " + plan.Reason, Mend: "apt-get install slirp4netns"}
	case plan.Mode == NetworkHost:
		return Finding{Name: "network", OK: true, Detail: "host: RUN steps can reach every service on this machine's loopback"}
	default:
		return Finding{Name: "network", OK: true, Detail: plan.Mode + ": " + plan.Reason}
	}
}

// leastRoom is what a builder needs at the least to begin with, in bytes.
const leastRoom = 32 << 20

// probeRoom looks whether a directory has room for a build.
func probeRoom(dir string) Finding {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return Finding{Name: findingState, Detail: fmt.Sprintf("%s: %v", dir, err), Mend: mendRoom}
	}
	free := fs.Bavail * uint64(fs.Bsize) //nolint:gosec // a block's size is no negative number
	detail := fmt.Sprintf("%s has %s free", dir, units.BytesSize(float64(free)))
	if free < leastRoom {
		return Finding{Name: findingState, Detail: detail, Mend: mendRoom}
	}
	return Finding{Name: findingState, OK: true, Detail: detail}
}

// probeState tries whether the state directory can be used, and by whom it is.
func probeState(state string) Finding {
	if _, err := os.Stat(state); errors.Is(err, os.ErrNotExist) {
		return Finding{Name: findingState, OK: true, Detail: state + " will be made"}
	}
	if err := unix.Access(state, unix.W_OK); err != nil {
		return Finding{Name: findingState, Detail: fmt.Sprintf("%s: %v", state, err), Mend: "give the directory to the user that runs the builder"}
	}
	unlock, err := LockState(state)
	var locked *LockedError
	if errors.As(err, &locked) {
		return Finding{Name: findingState, OK: true, Detail: locked.Error()}
	}
	if err != nil {
		return Finding{Name: findingState, Detail: err.Error(), Mend: "give the directory to the user that runs the builder"}
	}
	unlock()
	return Finding{Name: findingState, OK: true, Detail: state + " is free"}
}
