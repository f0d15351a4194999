package runner_test

import (
	"testing"

	"slipway/runner/runnertest"
)

// hookInContainer tries to reach the step from a build hook, and then fails, so that the step needs no
// builder.
const hookInContainer = `#!/bin/sh
exec 2>&1
for file in /proc/1/environ /proc/1/mem /proc/1/root/etc/passwd /proc/1/fd/0; do
	head -c 1 $file >/dev/null && echo "REACHED $file"
done
kill -0 1 && echo "REACHED the step"
touch made || echo "the workspace is not writable"
touch "$TMPDIR/made" || echo "TMPDIR is not writable"
echo "user $(id -u)"
(sleep 600 &) # the step does not wait for it
exit 7
`

// In a container as Docker makes it by default, hooks run at level container.
func TestHooksInADefaultContainer(t *testing.T) {
	needContainers(t)
	for name, tt := range map[string]struct {
		in   container
		want []string
	}{
		"root": {container{seccomp: true}, []string{
			"build hooks run at level container: another user (uid 6", "user 6", "hooks/post_checkout ended with exit code 7",
		}},
		"an ordinary user": {container{seccomp: true, uid: 1000}, []string{
			"build hooks run at level container: Landlock", "user 1000", "hooks/post_checkout ended with exit code 7",
		}},
		"an ordinary user without Landlock": {
			container{seccomp: true, uid: 1000, denied: []string{"landlock_create_ruleset"}},
			[]string{
				"build hooks are off on this runner: build hooks need a step that runs as root, or Linux 6.12 with Landlock: " +
					"another user: the step is not root (uid 1000); Landlock: not available: ",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			b := e.Push(map[string]string{
				"svc/Dockerfile":                 "FROM scratch\n",
				runnertest.Hook("post_checkout"): hookInContainer,
			})
			log, err := tt.in.run(t, openDir(t),
				"PLUGIN_RUNNER_URL="+e.Gateway.BuildURL(b.ID), "PLUGIN_RUNNER_TOKEN="+e.Gateway.Start(b))
			if err == nil {
				t.Error("step: got success, want an error")
			}
			for _, want := range tt.want {
				runnertest.CheckHas(t, "the log", log, want)
			}
			for _, unwanted := range []string{"REACHED", "not writable"} {
				runnertest.CheckLacks(t, "the log", log, unwanted)
			}
		})
	}
}
