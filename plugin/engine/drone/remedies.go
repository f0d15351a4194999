package drone

import (
	"fmt"

	"slipway/plugin/engine/pipeline"
)

// remedies returns the hints for Drone's server, its runners and the gateway.
func remedies(o Options) pipeline.Remedies {
	m := pipeline.Remedies{
		Agent: fmt.Sprintf(
			"is a runner of type %s for %s connected (SLIPWAY_DRONE_TYPE, SLIPWAY_DRONE_PLATFORM), with free capacity",
			o.Type, o.Platform,
		),
		Config: "are DRONE_YAML_ENDPOINT and DRONE_YAML_SECRET set on Drone's server as `slipway engines` prints them?",
		Image:  fmt.Sprintf("is SLIPWAY_DRONE_IMAGE=%s this program, and available to the runners?", o.Step.Image),
		Secret: "set DRONE_SECRET_PLUGIN_ENDPOINT and DRONE_SECRET_PLUGIN_TOKEN on each of Drone's runners " +
			"as `slipway engines` prints them, and check that they can reach the gateway",
		Builder: fmt.Sprintf(
			"on Drone, set DRONE_RUNNER_PRIVILEGED_IMAGES=%s on the runners, or set "+
				"SLIPWAY_DRONE_BUILDER",
			o.Step.Image,
		),
	}
	if len(o.Step.Labels) > 0 {
		m.Agent += ", and the labels of SLIPWAY_DRONE_LABELS in DRONE_RUNNER_LABELS"
	}
	m.Agent += "?"
	switch {
	case o.Step.Builder != "":
		m.Builder = "SLIPWAY_DRONE_BUILDER=" + o.Step.Builder + " must be reachable from Drone's runners"
	case o.Type == TypeKubernetes:
		m.Builder = "set SLIPWAY_DRONE_BUILDER"
	case o.Type == TypeExec:
		m.Builder = "run Drone's runner as root, or set SLIPWAY_DRONE_BUILDER"
	}
	return m
}
