package runner

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"slipway/runner/ci"
	"slipway/runner/sandbox"
)

// elsewhere is what helps always, and needs no privilege in any step.
const elsewhere = "name a builder elsewhere: setting builder (PLUGIN_BUILDER, or SLIPWAY_BUILDER)"

// advise adds to the error of a builder that cannot start what would help in the CI at hand.
func advise(err error, environ []string) error {
	var obstacle *sandbox.Obstacle
	if !errors.As(err, &obstacle) {
		return fmt.Errorf("%w; or %s", err, elsewhere)
	}
	if !obstacle.Privilege() {
		return fmt.Errorf("%w; or %s", obstacle, elsewhere)
	}
	return fmt.Errorf(
		"no builder can run here: %s. Either %s; then no step needs privilege. Or give the step privilege: %s",
		obstacle.Detail,
		elsewhere,
		privilegeOf(asMap(environ), obstacle.Mend),
	)
}

// privilegeOf names the setting by which the CI at hand gives a step the privilege to mount, and
// after it what else would do.
//
// Sources: https://docs.drone.io/runner/docker/configuration/reference/drone-runner-privileged-images/,
// https://woodpecker-ci.org/docs/administration/configuration/server (WOODPECKER_PLUGINS_PRIVILEGED),
// https://woodpecker-ci.org/docs/administration/configuration/backends/kubernetes,
// https://kubernetes.io/docs/tasks/configure-pod-container/security-context/
func privilegeOf(environ map[string]string, mend string) string {
	kubernetes := environ["KUBERNETES_SERVICE_HOST"] != ""
	switch name := ci.Read(environ).CI; {
	case name == ci.Drone:
		return "set DRONE_RUNNER_PRIVILEGED_IMAGES of Drone's runner to the step's image, or make the repository trusted and the step privileged (privileged: true)" + orElse(
			mend,
		)
	case name == ci.Woodpecker && kubernetes:
		return "set WOODPECKER_PLUGINS_PRIVILEGED of Woodpecker's server to the step's image with its tag; or, for a trusted repository, " +
			"give the step backend_options.kubernetes.securityContext with seccompProfile {type: Unconfined}" + orElse(
			mend,
		)
	case name == ci.Woodpecker:
		return "set WOODPECKER_PLUGINS_PRIVILEGED of Woodpecker's server to the step's image with its tag; the step may have settings alone, no commands" + orElse(
			mend,
		)
	case kubernetes:
		return "give the container securityContext with privileged: true, or with seccompProfile {type: Unconfined}" + orElse(
			mend,
		)
	}
	return mend
}

// builderPlan says where the step would build, as far as it shows without starting a builder.
func (r *standalone) builderPlan(ctx context.Context) string {
	if r.s.Builder != "" {
		return fmt.Sprintf("ask the builder at %s (%s)", r.s.Builder, r.s.Origins["PLUGIN_BUILDER"])
	}
	how, err := sandbox.WouldRun(ctx, r.o.Environ)
	if err != nil {
		return "fail: " + advise(err, r.o.Environ).Error()
	}
	return "start a builder here, " + how
}

func orElse(mend string) string { return "; or else " + mend }

func asMap(environ []string) map[string]string {
	all := map[string]string{}
	for _, v := range environ {
		if name, value, ok := strings.Cut(v, "="); ok {
			all[name] = value
		}
	}
	return all
}
