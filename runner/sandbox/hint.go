package sandbox

import (
	"errors"
	"fmt"

	"github.com/caarlos0/env/v11"

	"slipway/runner/ci"
)

// remoteBuilderHint is the fix that works in every CI. The step then needs no privilege.
const remoteBuilderHint = "use a builder elsewhere: setting builder (PLUGIN_BUILDER, or SLIPWAY_BUILDER)"

// withHint adds a fix to the error of a builder that cannot start. environ is the step's environment,
// which identifies the CI.
func withHint(err error, environ []string) error {
	var unsupported *NotSupportedError
	if !errors.As(err, &unsupported) {
		return fmt.Errorf("%w; or %s", err, remoteBuilderHint)
	}
	if !unsupported.LacksPrivilege() {
		return fmt.Errorf("%w; or %s", unsupported, remoteBuilderHint)
	}
	return fmt.Errorf(
		"no builder can run here: %s. Either %s; then no step needs privilege. Or give the step privilege: %s",
		unsupported.Detail,
		remoteBuilderHint,
		privilegeHint(env.ToMap(environ), unsupported.Fix),
	)
}

// privilegeHint returns the setting of the step's CI that lets the step mount. fix is the fix for a
// container without a CI. It comes last.
//
// Sources: https://docs.drone.io/runner/docker/configuration/reference/drone-runner-privileged-images/,
// https://woodpecker-ci.org/docs/administration/configuration/server (WOODPECKER_PLUGINS_PRIVILEGED),
// https://woodpecker-ci.org/docs/administration/configuration/backends/kubernetes,
// https://kubernetes.io/docs/tasks/configure-pod-container/security-context/
func privilegeHint(environ map[string]string, fix string) string {
	kubernetes := environ["KUBERNETES_SERVICE_HOST"] != ""
	hint := ""
	switch name := ci.Read(environ).CI; {
	case name == ci.Drone:
		hint = "set DRONE_RUNNER_PRIVILEGED_IMAGES of Drone's runner to the step's image, " +
			"or make the repository trusted and the step privileged (privileged: true)"
	case name == ci.Woodpecker && kubernetes:
		hint = "set WOODPECKER_PLUGINS_PRIVILEGED of Woodpecker's server to the step's image with its tag; " +
			"or, for a trusted repository, give the step backend_options.kubernetes.securityContext " +
			"with seccompProfile {type: Unconfined}"
	case name == ci.Woodpecker:
		hint = "set WOODPECKER_PLUGINS_PRIVILEGED of Woodpecker's server to the step's image with its tag; " +
			"the step may have settings, but no commands"
	case kubernetes:
		hint = "give the container securityContext with privileged: true, or with seccompProfile {type: Unconfined}"
	default:
		return fix
	}
	return hint + "; or else " + fix
}
