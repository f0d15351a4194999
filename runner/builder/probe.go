package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A Finding is one line of what `slipway doctor` says about the builder.
type Finding struct {
	Name   string // mode, runtime, network, state
	OK     bool
	Detail string // what was found
	Mend   string // the one thing to change; empty when OK
}

// Probe tells, within a second and without starting a builder, how one would run here.
// The first finding is the mode: root, rootless or none.
func Probe(ctx context.Context, c Config) []Finding {
	findings := []Finding{probeMode(planIsolation(readMachine())), probeRuntime(ctx, c.OCIRuntime), probeNetwork(c.Network)}
	if ctx.Err() == nil && c.State != "" {
		findings = append(findings, probeState(c.State))
	}
	return findings
}

// printProbe prints the findings in one line, and fails with what is to mend.
func printProbe(w io.Writer, findings []Finding) error {
	var found, mend []string
	for _, f := range findings {
		found = append(found, f.Name+" "+f.Detail)
		if !f.OK {
			mend = append(mend, f.Detail+": "+f.Mend)
		}
	}
	if mend != nil {
		return errors.New(strings.Join(mend, "; "))
	}
	_, err := fmt.Fprintln(w, strings.Join(found, "; "))
	return err
}

func probeMode(how isolation) Finding {
	switch how.mode {
	case ModeRoot:
		return Finding{Name: "mode", OK: true, Detail: "root: in its own process and mount namespaces"}
	case ModeRootless:
		return Finding{Name: "mode", OK: true, Detail: "rootless: in a user namespace"}
	default:
		return Finding{Name: "mode", Detail: "none: BuildKit cannot run here", Mend: how.reason}
	}
}

func probeRuntime(ctx context.Context, name string) Finding {
	path, err := findRuntime(ctx, name)
	if err != nil {
		return Finding{Name: "runtime", Detail: err.Error(), Mend: "apt-get install runc"}
	}
	return Finding{Name: "runtime", OK: true, Detail: path}
}

func probeNetwork(asked string) Finding {
	if asked == "" {
		asked = NetworkAuto
	}
	plan, err := planNetwork(asked, readNetworkFacts(privileged()))
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

// probeState tries whether the state directory can be used, and by whom it is.
func probeState(state string) Finding {
	if _, err := os.Stat(state); errors.Is(err, os.ErrNotExist) {
		return Finding{Name: "state", OK: true, Detail: state + " will be made"}
	}
	if err := unix.Access(state, unix.W_OK); err != nil {
		return Finding{Name: "state", Detail: fmt.Sprintf("%s: %v", state, err), Mend: "give the directory to the user that runs the builder"}
	}
	unlock, err := lockState(state)
	var locked *LockedError
	if errors.As(err, &locked) {
		return Finding{Name: "state", OK: true, Detail: locked.Error()}
	}
	if err != nil {
		return Finding{Name: "state", Detail: err.Error(), Mend: "give the directory to the user that runs the builder"}
	}
	unlock()
	return Finding{Name: "state", OK: true, Detail: state + " is free"}
}
