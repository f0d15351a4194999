package sandbox

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// The setting for privileged steps depends on the CI. A builder on another machine is always the first
// fix.
func TestHintsForEachCI(t *testing.T) {
	forbidden := &NotSupportedError{Name: "mode", Detail: "it may not mount", Fix: "do this"}
	for name, c := range map[string]struct {
		err     error
		environ []string
		want    string
	}{
		"Drone":                    {forbidden, []string{"DRONE=true"}, "set DRONE_RUNNER_PRIVILEGED_IMAGES of Drone's runner to the step's image, or make the repository trusted and the step privileged (privileged: true); or else do this"},
		"Drone on Kubernetes":      {forbidden, []string{"DRONE=true", "KUBERNETES_SERVICE_HOST=10.0.0.1"}, "DRONE_RUNNER_PRIVILEGED_IMAGES"},
		"Woodpecker":               {forbidden, []string{"CI=woodpecker", "DRONE_COMMIT_SHA=x"}, "set WOODPECKER_PLUGINS_PRIVILEGED of Woodpecker's server to the step's image with its tag; the step may have settings, but no commands"},
		"Woodpecker on Kubernetes": {forbidden, []string{"CI=woodpecker", "KUBERNETES_SERVICE_HOST=10.0.0.1"}, "backend_options.kubernetes.securityContext with seccompProfile {type: Unconfined}"},
		"Kubernetes":               {forbidden, []string{"KUBERNETES_SERVICE_HOST=10.0.0.1"}, "give the container securityContext with privileged: true"},
		"no CI":                    {fmt.Errorf("start: %w", forbidden), nil, "it may not mount. Either use a builder elsewhere: setting builder (PLUGIN_BUILDER, or SLIPWAY_BUILDER); then no step needs privilege. Or give the step privilege: do this"},
		"no runc":                  {&NotSupportedError{Name: "runtime", Detail: "runc is not installed", Fix: "install it"}, []string{"DRONE=true"}, "no builder can run here: runc is not installed: install it; or use a builder elsewhere"},
		"another fault":            {errors.New("boom"), []string{"DRONE=true"}, "boom; or use a builder elsewhere"},
	} {
		got := withHint(c.err, c.environ).Error()
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q in it", name, got, c.want)
		}
		if strings.Contains(got, "\n") {
			t.Errorf("%s: got %q, want one line", name, got)
		}
		privileged := strings.Contains(c.want, "PRIVILEGED") || name == "Woodpecker on Kubernetes"
		if strings.Contains(got, "PRIVILEGED") && !privileged {
			t.Errorf("%s: got %q, want no hint about privilege, because it does not help", name, got)
		}
	}
}
