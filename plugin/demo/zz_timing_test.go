package demo_test

import (
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/world"
	"slipway/plugin/demo/world/worldtest"
)

func TestZZ(t *testing.T) {
	start := time.Now()
	h := worldtest.Open(t, world.Options{Environment: quick()})
	t.Log("open", time.Since(start)); start = time.Now()
	p := h.Automate(h.Dockerfile("x"), worldtest.MainToLatest())
	t.Log("automate", time.Since(start)); start = time.Now()
	p.Commit("a", h.Dockerfile("y"))
	p.Push("main")
	t.Log("push", time.Since(start)); start = time.Now()
	p.End(1, autobuild.Succeeded)
	t.Log("end", time.Since(start)); start = time.Now()
	h.Gateway.Stop()
	t.Log("stop", time.Since(start)); start = time.Now()
	h.Close()
	t.Log("close", time.Since(start))
}
