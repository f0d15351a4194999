package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/buildkit/util/network"
	"github.com/moby/buildkit/util/network/cniprovider"

	"slipway/runner/sandbox"
	networks "slipway/runner/sandbox/network"
)

// All builders of a machine share the bridge and its addresses. The plugin host-local assigns the
// addresses under its own lock. The leases are in /run, so they end with the next boot.
const (
	cniNetwork = "slipway"
	cniBridge  = "slipway0"
	cniSubnet  = "10.209.0.0/16"
	cniLeases  = "/run/slipway-cni"
	cniPool    = 2 // number of prepared network namespaces: creating one takes longer than a small step
)

// cniConfig returns the CNI configuration for RUN steps: a bridge. https://www.cni.dev/docs/spec/ It
// does not use the plugins' rules for masquerading and forwarding. The plugins add rules for each step,
// and a killed builder leaves its rules behind. The rules of bridgeRules apply to the whole bridge
// instead.
func cniConfig() ([]byte, error) {
	type object map[string]any
	return json.MarshalIndent(object{"cniVersion": "0.4.0", "name": cniNetwork, "plugins": []object{{
		"type":             "bridge",
		"bridge":           cniBridge,
		"isDefaultGateway": true,
		"ipam": object{
			"type":    "host-local",
			"dataDir": cniLeases,
			"ranges":  [][]object{{{"subnet": cniSubnet}}},
		},
	}}}, "", "  ")
}

// bridgeRules returns the iptables rules of the bridge by table, in the order and the form of
// iptables-save. They allow outgoing connections by NAT, also if Docker or a firewall has set the policy
// of FORWARD to DROP. They reject connections to the cloud's metadata service, because a Dockerfile could
// get this machine's credentials there. They drop packets from one step to another, as isolateSteps does
// on the bridge.
func bridgeRules() map[string][]string {
	return map[string][]string{
		"filter": {
			"FORWARD -i " + cniBridge + " -o " + cniBridge + " -j DROP",
			"FORWARD -d 169.254.0.0/16 -i " + cniBridge + " -j REJECT --reject-with icmp-port-unreachable",
			"FORWARD -i " + cniBridge + " -j ACCEPT",
			"FORWARD -o " + cniBridge + " -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
		},
		"nat": {"POSTROUTING -s " + cniSubnet + " ! -d " + cniSubnet + " -j MASQUERADE"},
	}
}

// openCNI writes the CNI configuration to the state directory, and returns a provider for the bridge.
// It fails if a first namespace cannot be set up.
func openCNI(ctx context.Context, state string, f sandbox.NetworkFacts) (network.Provider, error) {
	config, err := cniConfig()
	if err != nil {
		return nil, fmt.Errorf("encode the CNI configuration: %w", err)
	}
	path := filepath.Join(state, "slipway.conflist")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		return nil, fmt.Errorf("write the CNI configuration: %w", err)
	}
	if err := dropNamespaces(filepath.Join(state, "net", "cni"), cniLeases); err != nil {
		return nil, err
	}
	if err := ensureRules(ctx); err != nil {
		return nil, err
	}
	return cniprovider.New(cniprovider.Opt{Root: state, ConfigPath: path, BinaryDir: f.PluginDir, PoolSize: cniPool})
}

// ensureRules completes the rules of the bridge. Two programs with all rules take a quarter of the time
// that a program for each rule takes, and each builder needs the rules before its first step.
func ensureRules(ctx context.Context) error {
	if err := networks.CompleteIPv4Rules(ctx, missingRules); err != nil {
		return fmt.Errorf("insert the rules of bridge %s: %w", cniBridge, err)
	}
	return nil
}

// missingRules returns the lines of iptables-restore by table that put the rules of the bridge at the top of
// their chains. If one rule of a table is missing, the others are moved, because the order matters.
func missingRules(have networks.Tables) map[string][]string {
	missing := map[string][]string{}
	for table, rules := range bridgeRules() {
		var lines []string
		for _, rule := range rules {
			if have.Has(table, "-A "+rule) {
				lines = append(lines, "-D "+rule)
			}
		}
		if len(lines) == len(rules) {
			continue
		}
		for _, rule := range slices.Backward(rules) { // the last one is at the top
			lines = append(lines, "-I "+rule)
		}
		missing[table] = lines
	}
	return missing
}

// dropNamespaces releases the addresses of namespaces that a killed server left. The namespaces
// themselves ended with the server's mounts, so the CNI plugins cannot release the addresses.
func dropNamespaces(dir, leases string) error {
	left, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list the network namespaces of earlier builders: %w", err)
	}
	held, err := leasesByID(filepath.Join(leases, cniNetwork))
	if err != nil {
		return fmt.Errorf("list the addresses of network namespaces: %w", err)
	}
	for _, namespace := range left {
		paths := []string{filepath.Join(dir, namespace.Name())}
		if lease, ok := held[namespace.Name()]; ok {
			paths = append(paths, lease)
		}
		for _, path := range paths {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("release the address of a network namespace of an earlier builder: %w", err)
			}
		}
	}
	return nil
}

// leasesByID returns the lease files of host-local by container ID. host-local has a file for each
// address, named after the address. The first line of the file is the container's ID.
func leasesByID(dir string) (map[string]string, error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	held := map[string]string{}
	for _, file := range files {
		path := filepath.Join(dir, file.Name())
		text, err := os.ReadFile(path)
		if err != nil {
			continue // the lease was released in the meantime
		}
		id, _, _ := bytes.Cut(text, []byte("\n"))
		held[strings.TrimSpace(string(id))] = path
	}
	return held, nil
}
