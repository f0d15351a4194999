package runner

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"slipway/runner/sandbox"
	"slipway/runner/settings"
)

func TestWhichBuilderMayPushItself(t *testing.T) {
	for _, c := range []struct {
		address, image string
		want           bool
	}{
		{"", "registry:5000/app", true},
		{"unix:///run/slipway/builder.sock", "127.0.0.1:5000/app", true},
		{"tcp://builder.example.com:9443", "docker.io/acme/app", true},
		{"tcp://builder.example.com:9443", "registry.example.com:5000/app", true},
		{"tcp://builder.example.com:9443", "registry:5000/app", false},
		{"tcp://builder.example.com:9443", "localhost/app", false},
		{"docker-container://buildkit", "127.0.0.1:5000/app", false},
		{"kube-pod://buildkit", "10.0.0.1/app", false},
		{"kube-pod://buildkit", "[::1]:5000/app", false},
	} {
		if got := builderPushes(c.address, c.image); got != c.want {
			t.Errorf("%q, %s: got %v", c.address, c.image, got)
		}
	}
}

func TestWhereTheCacheIs(t *testing.T) {
	volume := stateFacts{there: true, volume: true, writable: true}
	named := ownBuilder{State: settings.State{Dir: "/cache"}, Origin: "PLUGIN_STATE"}
	for _, c := range []struct {
		asked     ownBuilder
		found     stateFacts
		dir, line string
	}{
		{ownBuilder{}, stateFacts{}, "", "goes with this step; a volume at"},
		{ownBuilder{}, stateFacts{there: true, writable: true, filled: true}, "", "goes with this step; a volume at"},
		{ownBuilder{}, volume, stateVolume, "which was empty"},
		{ownBuilder{}, stateFacts{there: true, volume: true}, "", "cannot be written"},
		{ownBuilder{State: settings.State{Off: true}}, volume, "", "as PLUGIN_STATE says"},
		{named, stateFacts{there: true, writable: true}, "/cache", "in /cache (PLUGIN_STATE), which was empty"},
		{named, stateFacts{there: true, writable: true, filled: true}, "/cache", "in /cache (PLUGIN_STATE), as earlier steps left it"},
	} {
		if got := chooseState(c.asked, c.found); got.dir != c.dir || !strings.Contains(got.line, c.line) {
			t.Errorf("%+v, %+v: got %+v", c.asked.State, c.found, got)
		}
	}
	locked := keptState{name: "/cache"}.without(fmt.Errorf("start: %w", &sandbox.LockedError{}))
	if other := (keptState{name: "/cache"}).without(
		errors.New("broken"),
	); !strings.Contains(locked, "another step is using") ||
		!strings.Contains(other, "broken") {
		t.Errorf("got %q and %q", locked, other)
	}
}
