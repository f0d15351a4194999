package woodpecker

import (
	"fmt"

	"slipway/plugin/engine/pipeline"
)

// remedies returns the hints for Woodpecker's server, its agents and the gateway.
func remedies(o Options) pipeline.Remedies {
	m := pipeline.Remedies{
		Agent: "is an agent connected, with free capacity",
		Config: "is the config extension set, on the builder repository or on the server " +
			"(WOODPECKER_CONFIG_EXTENSION_ENDPOINT)?",
		Image: fmt.Sprintf("is SLIPWAY_WOODPECKER_IMAGE=%s this program, and available to the agents?", o.Step.Image),
		Secret: "allow this gateway on Woodpecker's server with WOODPECKER_EXTENSIONS_ALLOWED_HOSTS, and make its " +
			"user an administrator of the builder repository or set WOODPECKER_SECRET_EXTENSION_ENDPOINT on the server",
		Builder: fmt.Sprintf(
			"on Woodpecker, set WOODPECKER_PLUGINS_PRIVILEGED=%s on the server, or set "+
				"SLIPWAY_WOODPECKER_BUILDER",
			o.Step.Image,
		),
	}
	if len(o.Step.Labels) > 0 {
		m.Agent += ", and the labels of SLIPWAY_WOODPECKER_LABELS in WOODPECKER_AGENT_LABELS"
	}
	m.Agent += "?"
	if o.Step.Builder != "" {
		m.Builder = "SLIPWAY_WOODPECKER_BUILDER=" + o.Step.Builder + " must be reachable from Woodpecker's agents"
	}
	return m
}
