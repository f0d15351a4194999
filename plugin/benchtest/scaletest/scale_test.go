package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v3"

	"slipway/config/must"
	"slipway/config/program"
	"slipway/plugin"
)

// gatewayVariable makes the test's program the one that it starts.
const gatewayVariable = "SLIPWAY_TEST_GATEWAY"

func TestMain(m *testing.M) {
	if os.Getenv(gatewayVariable) != "" {
		os.Exit(program.Run(&cli.Command{Name: "slipway", Commands: plugin.Commands()}, os.Args))
	}
	os.Exit(m.Run())
}

// Each page of gateways with two small databases answers, and each has a row in the table.
func TestCompareSmallDatabases(t *testing.T) {
	t.Setenv(gatewayVariable, "1")
	self, err := os.Executable()
	must.Succeed(t, err)
	var out strings.Builder
	must.Succeed(t, run(t.Context(), strings.Fields("-program "+self+" -databases sqlite -small 1,10,20 -large 2,20,40"+
		" -rounds 1 -pushes 1 -idle 6ms -settle 0s -work "+t.TempDir()), &out))
	for _, want := range []string{
		"idle: processor", "/automated-builds ", "/builds?state=failed (reader of 10) ", "/deliveries/", "/metrics ", "plan ",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("table: got no row of %s, want one: %s", want, out.String())
		}
	}
}

func TestWrongArgumentsAreNamed(t *testing.T) {
	for args, want := range map[string]string{
		"-small 1,2": "-small", "-large 10,20,40": "-large", "-databases mysql": "mysql", "-rounds 0": "-rounds",
		"more": "no arguments but flags",
	} {
		if _, err := parse(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want one with %q", args, err, want)
		}
	}
}

// A goal is missed only if the whole interval of at least six rounds is above it.
func TestVerdicts(t *testing.T) {
	ms := func(n ...int) (all []time.Duration) {
		for _, one := range n {
			all = append(all, time.Duration(one)*time.Millisecond)
		}
		return all
	}
	for want, large := range map[string][]time.Duration{
		"holds": ms(10, 11, 19), "open": ms(10, 30, 31, 30, 30, 30), "MISSED": ms(21, 30, 31, 30, 30, 30),
	} {
		if got := compared("page", ms(10, 10, 10, 10, 10, 10), large, 2, "").verdict(); got != want {
			t.Errorf("verdict of %v: got %s, want %s", large, got, want)
		}
	}
	if got := compared("page", ms(10, 10, 10), ms(30, 30, 30), 2, "").verdict(); got != "open" {
		t.Errorf("verdict of three rounds: got %s, want open", got)
	}
}
