package builder

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/moby/buildkit/util/network"
	"github.com/moby/buildkit/util/network/cniprovider"
)

// The bridge is shared by all builders of a machine; the addresses are handed out by
// host-local under its own lock.
const (
	cniNetwork = "slipway"
	cniBridge  = "slipway0"
	cniSubnet  = "10.209.0.0/16"
	cniPool    = 2 // network namespaces kept ready: making one takes longer than a small step
)

// cniConfig is the network of RUN steps: a bridge behind NAT. https://www.cni.dev/docs/spec/
func cniConfig(firewall bool) ([]byte, error) {
	type plugin map[string]any
	plugins := []plugin{{
		"type":             "bridge",
		"bridge":           cniBridge,
		"isDefaultGateway": true,
		"ipMasq":           true,
		"ipam": plugin{
			"type":   "host-local",
			"ranges": [][]plugin{{{"subnet": cniSubnet}}},
		},
	}}
	if firewall { // lets the bridge through where FORWARD drops, as Docker makes it
		plugins = append(plugins, plugin{"type": "firewall", "backend": "iptables"})
	}
	return json.MarshalIndent(map[string]any{"cniVersion": "0.4.0", "name": cniNetwork, "plugins": plugins}, "", "  ")
}

// openCNI writes the configuration below state and opens the bridge. It fails when a
// first namespace cannot be set up.
func openCNI(state string, f networkFacts) (network.Provider, error) {
	config, err := cniConfig(f.firewall)
	if err != nil {
		return nil, fmt.Errorf("CNI configuration: %w", err)
	}
	path := filepath.Join(state, "slipway.conflist")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		return nil, fmt.Errorf("write CNI configuration: %w", err)
	}
	return cniprovider.New(cniprovider.Opt{Root: state, ConfigPath: path, BinaryDir: f.pluginDir, PoolSize: cniPool})
}
