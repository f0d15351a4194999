package usertest

import (
	"strings"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
)

// F24: a build of a builder service continues while the gateway restarts, in the same attempt and with a
// complete log.
func TestF24ARunningBuildContinuesOverARestart(t *testing.T) {
	demotest.RequireTools(t)
	e := open(t)
	p := e.Automate(e.Dockerfile("start"), demotest.MainRule())
	p.Commit("Wait", e.Dockerfile("x", `RUN echo begin-$((1+1)) && sleep 4 && echo end-$((1+1))`))
	p.Push("main")
	b := p.WaitNewest(1, autobuild.Running)
	_, err := e.Browser.WaitLog(e.Context, b, 1, func(log string) bool { return strings.Contains(log, "begin-2") })
	e.Must(err)
	for range 2 {
		e.Must(e.Gateway.Restart(e.Context))
	}
	b = p.WaitEnd(1, autobuild.Succeeded)
	if b.Attempt != 1 {
		t.Errorf("attempts: got %d, want 1", b.Attempt)
	}
	log, err := e.Browser.Log(e.Context, b, 1, 0)
	e.Must(err)
	if !strings.Contains(log, "end-2") {
		t.Errorf("log: got no end-2, want it:\n%s", log)
	}
}
