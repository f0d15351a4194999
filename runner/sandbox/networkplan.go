package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// The networks of RUN steps. The setting auto never chooses host, because a Dockerfile could then reach
// every service on the machine's loopback addresses. The setting step may choose host, because the step
// runs in a container. RUN then reaches only the services that the step itself can reach.
const (
	NetworkAuto  = "auto"
	NetworkStep  = "step" // like auto, but with the network of this container instead of none
	NetworkCNI   = "cni"
	NetworkSlirp = "slirp4netns"
	NetworkNone  = "none"
	NetworkHost  = "host"
)

// A NetworkPlan is the chosen network and the reason for the choice.
type NetworkPlan struct {
	Mode   string
	Reason string
}

// NetworkFacts describes the machine for PlanNetwork.
type NetworkFacts struct {
	PluginDir string // directory of the plugins bridge, host-local and loopback; empty = not found
	IPTables  bool   // iptables is installed
	Slirp     string // path of slirp4netns; empty = not usable
	NoSlirp   string // the reason if slirp4netns is not usable
	Privilege bool   // this process is root of the machine, not of a user namespace
}

// ReadNetworkFacts returns the facts of this machine. privileged is the result of Privileged.
func ReadNetworkFacts(privileged bool) NetworkFacts {
	f := NetworkFacts{Privilege: privileged}
	for _, dir := range []string{"/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"} {
		if f.PluginDir == "" && hasPlugins(dir, "bridge", "host-local", "loopback") {
			f.PluginDir = dir
		}
	}
	_, err := exec.LookPath("iptables")
	f.IPTables = err == nil
	if f.Slirp, err = findSlirp(); err != nil {
		f.NoSlirp = err.Error()
	}
	return f
}

// findSlirp returns the path of slirp4netns. It returns an error if the program is not installed, or if it
// could not open its device.
func findSlirp() (string, error) {
	path, err := exec.LookPath("slirp4netns")
	if err != nil {
		return "", errors.New("slirp4netns is not installed (Debian: apt-get install slirp4netns)")
	}
	device, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return "", fmt.Errorf("slirp4netns cannot be used: %w", err)
	}
	_ = device.Close() // nothing was written
	return path, nil
}

func hasPlugins(dir string, names ...string) bool {
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// PlanNetwork chooses the network of RUN steps for the requested one. It fails if the requested
// network cannot work on this machine.
func PlanNetwork(asked string, f NetworkFacts) (NetworkPlan, error) {
	cniLacks := lacksForCNI(f)
	switch asked {
	case NetworkAuto:
		return planAuto(f, cniLacks), nil
	case NetworkStep:
		plan := planAuto(f, cniLacks)
		if plan.Mode == NetworkNone {
			plan = NetworkPlan{Mode: NetworkHost, Reason: "the network of the step's container; " + plan.Reason}
		}
		return plan, nil
	case NetworkCNI:
		if cniLacks != "" {
			return NetworkPlan{}, fmt.Errorf("network cni: %s", cniLacks)
		}
	case NetworkSlirp:
		if f.Slirp == "" {
			return NetworkPlan{}, fmt.Errorf("network slirp4netns: %s", f.NoSlirp)
		}
	case NetworkNone, NetworkHost:
	default:
		return NetworkPlan{}, fmt.Errorf("network %q is unknown: use auto, step, cni, slirp4netns, none or host", asked)
	}
	return NetworkPlan{Mode: asked, Reason: "requested by the setting"}, nil
}

func planAuto(f NetworkFacts, cniLacks string) NetworkPlan {
	switch {
	case cniLacks == "":
		return NetworkPlan{Mode: NetworkCNI, Reason: "CNI plugins are in " + f.PluginDir}
	case f.Slirp != "":
		return NetworkPlan{Mode: NetworkSlirp, Reason: "slirp4netns is installed; no CNI bridge: " + cniLacks}
	default:
		return NetworkPlan{Mode: NetworkNone, Reason: "no CNI bridge: " + cniLacks + "; " + f.NoSlirp}
	}
}

// lacksForCNI returns the reason why a CNI bridge cannot work, with the fix; "" = it can.
func lacksForCNI(f NetworkFacts) string {
	switch {
	case !f.Privilege:
		return "a bridge needs root outside a user namespace"
	case f.PluginDir == "":
		return "the plugins bridge, host-local and loopback are not installed (Debian: apt-get install containernetworking-plugins iptables)"
	case !f.IPTables:
		return "iptables is not installed (Debian: apt-get install iptables)"
	default:
		return ""
	}
}

// Without returns the facts with a mode marked as not usable, after an attempt has failed.
func (f NetworkFacts) Without(mode string) NetworkFacts {
	if mode == NetworkCNI {
		f.PluginDir = ""
	} else {
		f.Slirp, f.NoSlirp = "", "slirp4netns does not work here"
	}
	return f
}
