package sandbox

import (
	"errors"
	"fmt"

	"github.com/caarlos0/env/v11"

	"slipway/config/size"
	"slipway/runner/ci"
	"slipway/runner/sandbox/cgroup"
)

// remoteBuilderHint is the fix that works in every CI. The step then needs no privilege.
const remoteBuilderHint = "use a builder elsewhere: setting builder (PLUGIN_BUILDER, or SLIPWAY_BUILDER)"

// KilledHint explains a command that SIGKILL ended in the builder that StartLocal started. It shares the
// memory of this process's container.
func KilledHint() string {
	limit := "no limit but the machine's memory is set"
	if bytes := cgroup.OwnMemory(); bytes > 0 {
		limit = "the limit of this step's memory is " + size.Format(bytes)
	}
	return "the command was killed (SIGKILL, exit code 137), as the kernel does when memory is short; " + limit +
		": give the step more memory in the CI, or " + remoteBuilderHint
}

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
