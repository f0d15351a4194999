package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/moby/buildkit/util/network"
	"github.com/moby/buildkit/util/network/cniprovider"

	"slipway/runner/builder"
)

// The bridge and its addresses are shared by all builders of a machine; host-local hands
// the addresses out under a lock of its own, and forgets them with the next boot.
const (
	cniNetwork = "slipway"
	cniBridge  = "slipway0"
	cniSubnet  = "10.209.0.0/16"
	cniLeases  = "/run/slipway-cni"
	cniPool    = 2 // network namespaces kept ready: making one takes longer than a small step
)

// cniConfig is the network of RUN steps: a bridge. https://www.cni.dev/docs/spec/
// Masquerading and forwarding are two rules for the whole bridge (bridgeRules) and not the
// plugins' several for each step: those would stay behind when the builder is killed.
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

// bridgeRules are the iptables rules that the bridge needs: out by NAT, through FORWARD
// where Docker or a firewall made that drop, and never to the cloud's metadata service,
// which would give a Dockerfile this machine's identity. Each begins with its table and
// chain; the last one ends up first.
func bridgeRules() [][]string {
	return [][]string{
		{"nat", "POSTROUTING", "-s", cniSubnet, "!", "-d", cniSubnet, "-j", "MASQUERADE"},
		{"filter", "FORWARD", "-o", cniBridge, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"},
		{"filter", "FORWARD", "-i", cniBridge, "-j", "ACCEPT"},
		{"filter", "FORWARD", "-i", cniBridge, "-d", "169.254.0.0/16", "-j", "REJECT"},
	}
}

// openCNI writes the configuration below state and opens the bridge. It fails when a
// first namespace cannot be set up.
func openCNI(ctx context.Context, state string, f builder.NetworkFacts) (network.Provider, error) {
	config, err := cniConfig()
	if err != nil {
		return nil, fmt.Errorf("CNI configuration: %w", err)
	}
	path := filepath.Join(state, "slipway.conflist")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		return nil, fmt.Errorf("write CNI configuration: %w", err)
	}
	if err := dropNamespaces(filepath.Join(state, "net", "cni"), cniLeases); err != nil {
		return nil, err
	}
	for _, rule := range bridgeRules() {
		if err := ensureRule(ctx, rule); err != nil {
			return nil, err
		}
	}
	return cniprovider.New(cniprovider.Opt{Root: state, ConfigPath: path, BinaryDir: f.PluginDir, PoolSize: cniPool})
}

// ensureRule inserts an iptables rule unless it is there.
func ensureRule(ctx context.Context, rule []string) error {
	if exec.CommandContext(ctx, "iptables", ruleArgs("-C", rule)...).Run() == nil { //nolint:gosec // constants
		return nil
	}
	out, err := exec.CommandContext(ctx, "iptables", ruleArgs("-I", rule)...).CombinedOutput() //nolint:gosec // constants
	if err != nil {
		return fmt.Errorf("iptables: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

func ruleArgs(verb string, rule []string) []string {
	return append([]string{"-w", "5", "-t", rule[0], verb, rule[1]}, rule[2:]...)
}

// dropNamespaces gives back the addresses of namespaces that a killed server left. The
// namespaces themselves went with its mounts, so the plugins could not be asked to.
func dropNamespaces(dir, leases string) error {
	left, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list left network namespaces: %w", err)
	}
	held, err := leasesByID(filepath.Join(leases, cniNetwork))
	if err != nil {
		return fmt.Errorf("list addresses of network namespaces: %w", err)
	}
	for _, namespace := range left {
		paths := []string{filepath.Join(dir, namespace.Name())}
		if lease, ok := held[namespace.Name()]; ok {
			paths = append(paths, lease)
		}
		for _, path := range paths {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("drop left network namespace: %w", err)
			}
		}
	}
	return nil
}

// leasesByID reads host-local's directory: a file for each address, named after it, that
// begins with the container's id.
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
			continue // given back meanwhile
		}
		id, _, _ := bytes.Cut(text, []byte("\n"))
		held[strings.TrimSpace(string(id))] = path
	}
	return held, nil
}
