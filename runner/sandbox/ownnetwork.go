package sandbox

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// networkVar has the Network of a builder, as JSON.
const networkVar = "SLIPWAY_BUILDER_OWN_NETWORK"

// A Network describes the network that a supervisor has given to a builder.
type Network struct {
	// Given means that a supervisor has chosen the network, so the builder applies the address policy to
	// registries, too.
	Given    bool
	Resolver netip.Addr   // the name server of a network of its own; invalid = the machine's network
	Machine  []netip.Addr // addresses of the machine, which cannot be reached in the network
	Local    []string     // names that lead to the builder's loopback, where their services are forwarded
}

// Environ returns the variables that pass the network to a builder.
func (n Network) Environ() []string {
	text, err := json.Marshal(n)
	if err != nil {
		panic(err) // the type has no such value
	}
	return []string{networkVar + "=" + string(text)}
}

// readNetwork returns the network of this process. A value of another program is ignored.
func readNetwork(getenv func(name string) string) Network {
	var n Network
	if json.Unmarshal([]byte(getenv(networkVar)), &n) != nil {
		return Network{}
	}
	return n
}

// The files that a network replaces.
const (
	resolvConf = "/etc/resolv.conf"
	hostsFile  = "/etc/hosts"
)

// resolvConfOf returns a resolv.conf with the network's name server and the other lines of the machine's.
func (n Network) resolvConfOf(machine string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "nameserver %s\n", n.Resolver)
	for line := range strings.Lines(machine) {
		switch fields := strings.Fields(line); {
		case len(fields) == 0:
		case fields[0] == "search", fields[0] == "domain", fields[0] == "options":
			b.WriteString(strings.Join(fields, " ") + "\n")
		}
	}
	return b.String()
}

// hostsOf returns a hosts file with the local names before the machine's lines. A local name gets only
// an IPv4 address. The machine's lines with the name are left out.
func (n Network) hostsOf(machine string) string {
	var b strings.Builder
	for _, name := range n.Local {
		fmt.Fprintf(&b, "127.0.0.1 %s\n", name)
	}
	for line := range strings.Lines(machine) {
		if !n.namesLocal(line) {
			b.WriteString(strings.TrimSuffix(line, "\n") + "\n")
		}
	}
	return b.String()
}

// namesLocal reports whether a line of a hosts file has one of the local names.
func (n Network) namesLocal(line string) bool {
	for _, word := range strings.Fields(line) {
		for _, name := range n.Local {
			if strings.EqualFold(word, name) {
				return true
			}
		}
	}
	return false
}

// mountFiles mounts files with the network's name server and names, in this mount namespace alone.
// BuildKit, git and RUN steps read the first one. dir is a directory of this mount namespace.
func (n Network) mountFiles(dir string) error {
	if !n.Resolver.IsValid() {
		return nil
	}
	if err := mountFile(dir, resolvConf, n.resolvConfOf(readFile(resolvConf))); err != nil || len(n.Local) == 0 {
		return err
	}
	return mountFile(dir, hostsFile, n.hostsOf(readFile(hostsFile)))
}

// mountFile mounts a file with a text over another one. It writes the file in dir, for a moment.
func mountFile(dir, over, text string) error {
	file := filepath.Join(dir, filepath.Base(over))
	//nolint:gosec // every process reads it
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", over, err)
	}
	if err := unix.Mount(file, over, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", over, err)
	}
	return os.Remove(file) // the mount keeps it
}
