package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"
)

// A Finding is one result of Probe. `slipway doctor` prints it as a line.
type Finding struct {
	Name   string // mode, runtime, network, state
	OK     bool
	Detail string // description of the result
	Fix    string // the fix; empty if OK
}

// Names of findings.
const (
	findingMode    = "mode"
	findingRuntime = "runtime"
	findingNetwork = "network"
	findingState   = "state"
)

const fixSpace = "set TMPDIR to a directory on a larger file system, for example a volume"

// ProbeOptions holds the builder's settings that Probe checks. All may be empty.
type ProbeOptions struct {
	State      string // directory of the cache
	Network    string // network of RUN steps; empty = NetworkAuto
	OCIRuntime string // path or name; empty = runc
}

// Probe predicts how a builder runs here. It takes less than a second and starts no builder. The first
// finding is the mode. Probe checks only the rights of this process. A container may forbid more, so a
// builder may still fail to start.
func Probe(ctx context.Context, o ProbeOptions) []Finding {
	findings := []Finding{
		probeMode(planIsolation(readMachine())),
		probeRuntime(ctx, o.OCIRuntime),
		probeNetwork(o.Network),
	}
	if ctx.Err() == nil && o.State != "" {
		findings = append(findings, probeState(o.State))
	}
	return findings
}

func probeMode(plan isolationPlan) Finding {
	if len(plan.candidates) == 0 {
		return Finding{Name: findingMode, Detail: plan.why(), Fix: plan.fix}
	}
	return Finding{Name: findingMode, OK: true, Detail: plan.candidates[0].String()}
}

func probeRuntime(ctx context.Context, name string) Finding {
	path, err := FindRuntime(ctx, name)
	if err != nil {
		return Finding{Name: findingRuntime, Detail: err.Error(), Fix: "apt-get install runc"}
	}
	return Finding{Name: findingRuntime, OK: true, Detail: path}
}

func probeNetwork(asked string) Finding {
	if asked == "" {
		asked = NetworkAuto
	}
	plan, err := PlanNetwork(asked, ReadNetworkFacts(Privileged()))
	switch {
	case err != nil:
		return Finding{
			Name:   findingNetwork,
			Detail: err.Error(),
			Fix:    "apt-get install containernetworking-plugins iptables slirp4netns",
		}
	case asked == NetworkAuto && plan.Mode == NetworkNone:
		return Finding{
			Name:   findingNetwork,
			Detail: "RUN steps have no network: " + plan.Reason,
			Fix:    "apt-get install slirp4netns",
		}
	case plan.Mode == NetworkHost:
		return Finding{
			Name:   findingNetwork,
			OK:     true,
			Detail: "host: RUN steps can reach every service on this machine's loopback",
		}
	default:
		return Finding{Name: findingNetwork, OK: true, Detail: plan.Mode + ": " + plan.Reason}
	}
}

// minFreeSpace is the free space that a builder needs to start, in bytes.
const minFreeSpace = 32 << 20

// probeFreeSpace checks that a directory has enough free space to start a builder.
func probeFreeSpace(dir string) Finding {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return Finding{Name: findingState, Detail: fmt.Sprintf("%s: %v", dir, err), Fix: fixSpace}
	}
	free := fs.Bavail * uint64(fs.Bsize) //nolint:gosec // a block size is never negative
	detail := fmt.Sprintf("%s has %s free", dir, units.BytesSize(float64(free)))
	if free < minFreeSpace {
		return Finding{Name: findingState, Detail: detail, Fix: fixSpace}
	}
	return Finding{Name: findingState, OK: true, Detail: detail}
}

// probeState checks that the state directory is usable, and reports the builder that uses it.
func probeState(state string) Finding {
	if _, err := os.Stat(state); errors.Is(err, os.ErrNotExist) {
		return Finding{Name: findingState, OK: true, Detail: state + " will be created"}
	}
	if err := unix.Access(state, unix.W_OK); err != nil {
		return Finding{
			Name:   findingState,
			Detail: fmt.Sprintf("%s: %v", state, err),
			Fix:    "make the user that runs the builder the owner of the directory",
		}
	}
	unlock, err := LockState(state, 0)
	var locked *LockedError
	if errors.As(err, &locked) {
		return Finding{Name: findingState, OK: true, Detail: locked.Error()}
	}
	if err != nil {
		return Finding{
			Name:   findingState,
			Detail: err.Error(),
			Fix:    "make the user that runs the builder the owner of the directory",
		}
	}
	unlock()
	return Finding{Name: findingState, OK: true, Detail: state + " is free"}
}
