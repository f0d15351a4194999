package inflight_test

import (
	"testing"

	"slipway/plugin/engine/inflight"
)

func TestACallRunsUntilItsLastEnd(t *testing.T) {
	var c inflight.Counter
	if c.Running("b1-1") {
		t.Error("before the first call: got running, want not running")
	}
	endFirst, endSecond := c.Begin("b1-1"), c.Begin("b1-1")
	endFirst()
	if !c.Running("b1-1") {
		t.Error("after one of two ends: got not running, want running")
	}
	if c.Running("b1-2") {
		t.Error("another key: got running, want not running")
	}
	endSecond()
	if c.Running("b1-1") {
		t.Error("after both ends: got running, want not running")
	}
}
