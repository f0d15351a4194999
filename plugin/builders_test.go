package plugin

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config"
	"slipway/config/discard"
)

func TestBuildersGetTheLimitsAndTheNetwork(t *testing.T) {
	got := builderArgs(config.Gateway{
		BuilderNetwork: "none", BuildMemory: "3GB", BuildProcesses: 1000, BuildCPUs: 1.5, Concurrency: 2, PerBuild: 1,
		Frontends: []string{"example.com/a", "example.com/b"},
	})
	want := strings.Fields("--network none --build-processes 1000 --build-cpus 1.5 --builds 2 --own-builds 1 " +
		"--build-memory 3GB --frontend example.com/a --frontend example.com/b")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
}

func TestAnInvalidCacheSizeIsReportedAtTheStart(t *testing.T) {
	_, err := newBuilders(base{config: config.Gateway{BuilderCache: "many"}, log: discard.Logger()}, 0)
	if err == nil || !strings.Contains(err.Error(), "SLIPWAY_BUILDER_CACHE") {
		t.Errorf("got %v, want an error about SLIPWAY_BUILDER_CACHE", err)
	}
}
