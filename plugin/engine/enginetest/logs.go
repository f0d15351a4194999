package enginetest

import (
	"strings"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
)

// A transcript is a log, read at the end of its build.
type transcript struct {
	build autobuild.Build
	text  string
}

// liveLog: a log can be read while the build runs, and from any offset.
func liveLog(env *demotest.Env) transcript {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	p.Commit("Talk", env.Dockerfile("x", "RUN echo first-$((6*7)); sleep 3; echo last-$((6*8))"))
	p.Push("main")
	b := p.WaitNewest(1, autobuild.Running)
	first, err := env.Browser.WaitLog(
		env.Context, b, 1, func(log string) bool { return strings.Contains(log, "first-42") },
	)
	env.Must(err)
	if strings.Contains(first, "last-48") {
		env.T.Error("log before the end of the step: got none, want some")
	}
	b = p.WaitEnd(1, autobuild.Succeeded)
	rest, err := env.Browser.Log(env.Context, b, 1, len(first))
	env.Must(err)
	whole, err := env.Browser.Log(env.Context, b, 1, 0)
	env.Must(err)
	if first+rest != whole || !strings.Contains(rest, "last-48") {
		env.T.Errorf("rest of the log from %d: got %q, want the rest of:\n%s", len(first), rest, whole)
	}
	return transcript{b, whole}
}

// logAfterRestart: a log is the same after a restart of the gateway.
func logAfterRestart(env *demotest.Env, kept transcript) {
	if kept.text == "" {
		env.T.Fatal("log to read again: got none, want one")
	}
	env.Gateway.Stop()
	env.Must(env.Gateway.Start(env.Context))
	again, err := env.Browser.Log(env.Context, kept.build, 1, 0)
	env.Must(err)
	if again != kept.text {
		env.T.Errorf("log after a restart: got\n%s\nwant as before\n%s", again, kept.text)
	}
}
