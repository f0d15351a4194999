// Package attacktest runs the attacks of testdata/attacks against a real gateway: from a pushed commit,
// with a pipeline token, or with a session cookie.
package attacktest

import (
	"testing"

	"slipway/plugin/demo/demotest"
)

func TestMain(m *testing.M) { demotest.Main(demotest.Isolated{Tests: m}) }
