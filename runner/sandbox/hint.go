package sandbox

import (
	"errors"
	"fmt"

	"github.com/caarlos0/env/v11"

	"slipway/runner/ci"
)

// remoteBuilderHint is the fix that always helps, and needs no privilege in any step.
const remoteBuilderHint = "name a builder elsewhere: setting builder (PLUGIN_BUILDER, or SLIPWAY_BUILDER)"

// withHint adds the fix for the CI at hand to the error of a builder that cannot start.
func withHint(err error, environ []string) error {
	var obstacle *Obstacle
	if !errors.As(err, &obstacle) {
		return fmt.Errorf("%w; or %s", err, remoteBuilderHint)
	}
	if !obstacle.Privilege() {
		return fmt.Errorf("%w; or %s", obstacle, remoteBuilderHint)
	}
	return fmt.Errorf(
		"no builder can run here: %s. Either %s; then no step needs privilege. Or give the step privilege: %s",
		obstacle.Detail,
		remoteBuilderHint,
		privilegeHint(env.ToMap(environ), obstacle.Mend),
	)
}

// privilegeHint names the setting by which the CI at hand gives a step the privilege to mount, and then
// the other fix.
//
// Sources: https://docs.drone.io/runner/docker/configuration/reference/drone-runner-privileged-images/,
// https://woodpecker-ci.org/docs/administration/configuration/server (WOODPECKER_PLUGINS_PRIVILEGED),
// https://woodpecker-ci.org/docs/administration/configuration/backends/kubernetes,
// https://kubernetes.io/docs/tasks/configure-pod-container/security-context/
func privilegeHint(environ map[string]string, fix string) string {
	kubernetes := environ["KUBERNETES_SERVICE_HOST"] != ""
	setting := ""
	switch name := ci.Read(environ).CI; {
	case name == ci.Drone:
		setting = "set DRONE_RUNNER_PRIVILEGED_IMAGES of Drone's runner to the step's image, " +
			"or make the repository trusted and the step privileged (privileged: true)"
	case name == ci.Woodpecker && kubernetes:
		setting = "set WOODPECKER_PLUGINS_PRIVILEGED of Woodpecker's server to the step's image with its tag; " +
			"or, for a trusted repository, give the step backend_options.kubernetes.securityContext " +
			"with seccompProfile {type: Unconfined}"
	case name == ci.Woodpecker:
		setting = "set WOODPECKER_PLUGINS_PRIVILEGED of Woodpecker's server to the step's image with its tag; " +
			"the step may have settings alone, no commands"
	case kubernetes:
		setting = "give the container securityContext with privileged: true, or with seccompProfile {type: Unconfined}"
	default:
		return fix
	}
	return setting + "; or else " + fix
}
