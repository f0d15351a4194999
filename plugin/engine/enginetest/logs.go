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
func liveLog(h *demotest.Env) transcript {
	p := h.Automate(h.Dockerfile("x"), demotest.MainToLatest())
	p.Commit("Talk", h.Dockerfile("x", "RUN echo first-$((6*7)); sleep 3; echo last-$((6*8))"))
	p.Push("main")
	b := p.Await(1, autobuild.Running)
	first, err := h.Browser.WaitLog(
		h.Context, b, 1, func(log string) bool { return strings.Contains(log, "first-42") },
	)
	h.Must(err)
	if strings.Contains(first, "last-48") {
		h.T.Error("the log came only when the step had ended")
	}
	b = p.End(1, autobuild.Succeeded)
	rest, err := h.Browser.Log(h.Context, b, 1, len(first))
	h.Must(err)
	whole, err := h.Browser.Log(h.Context, b, 1, 0)
	h.Must(err)
	if first+rest != whole || !strings.Contains(rest, "last-48") {
		h.T.Errorf("read on from %d: %q, which does not make the whole log:\n%s", len(first), rest, whole)
	}
	return transcript{b, whole}
}

// logAfterRestart: a log is the same after a restart of the gateway.
func logAfterRestart(h *demotest.Env, kept transcript) {
	if kept.text == "" {
		h.T.Fatal("there is no log to read again")
	}
	h.Gateway.Stop()
	h.Must(h.Gateway.Start(h.Context))
	again, err := h.Browser.Log(h.Context, kept.build, 1, 0)
	h.Must(err)
	if again != kept.text {
		h.T.Errorf("after a restart the log is\n%s\nbefore it was\n%s", again, kept.text)
	}
}
