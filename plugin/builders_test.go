package plugin

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config"
	"slipway/config/discard"
)

func TestTheServiceGetsTheLimitsAndTheNetwork(t *testing.T) {
	got, err := serviceArgs(config.Gateway{
		BuilderNetwork: "none",
		BuildMemory:    "3GB",
		BuildProcesses: 1000,
		BuildCPUs:      1.5,
		Concurrency:    2,
		PerBuild:       1,
		BuilderIdle:    time.Minute,
		BuilderCache:   "5GB",
		BuildDisk:      "2GB",
		BuilderDisk:    "8GB",
		Builder:        "unix:///b.sock",
		Frontends:      []string{"example.com/a", "example.com/b"},
		LocalRegistry:  []string{"127.0.0.1:5000"},
		Private:        "refuse",
		Allowed:        []string{"10.1.2.3:5000", " fd12::/16"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(
		"--idle 1m0s --running 10 --cache-size 5GB --build-processes 1000 --build-cpus 1.5 --builds 2 " +
			"--own-builds 1 --builder unix:///b.sock --build-memory 3GB --disk 2GB --builder-disk 8GB --local-registry 127.0.0.1:5000 " +
			"--private-networks refuse --allowed-network 10.1.2.3:5000 --allowed-network fd12::/16 " +
			"-- --network none --frontend example.com/a --frontend example.com/b",
	)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
}

func TestAnInvalidSettingIsReportedAtTheStart(t *testing.T) {
	for name, c := range map[string]config.Gateway{
		"SLIPWAY_BUILDER_CACHE":            {BuilderCache: "many"},
		"SLIPWAY_BUILD_DISK":               {BuilderCache: "1GB", BuildDisk: "-1GB"},
		"SLIPWAY_BUILDER_DISK":             {BuilderCache: "1GB", BuilderDisk: "large"},
		"SLIPWAY_BUILDER_LOCAL_REGISTRIES": {BuilderCache: "1GB", LocalRegistry: []string{"192.0.2.1:5000"}},
	} {
		if _, err := serviceArgs(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v, want an error about it", name, err)
		}
	}
}

// A foreign builder service accepts no socket from a gateway, so the gateway reports the setting at its start.
func TestASocketOfABuilderIsASettingOfTheService(t *testing.T) {
	b := base{config: config.Gateway{BuilderService: "/run/s.sock", Builder: "unix:///b.sock"}, log: discard.Logger()}
	_, _, err := newBuilderService(b)
	if err == nil || !strings.Contains(err.Error(), "start the service with --builder unix:///b.sock") {
		t.Errorf("a socket: got error %v, want one with the fix", err)
	}
	b.config.Builder = "tcp://b:9443"
	if _, _, err := newBuilderService(b); err != nil {
		t.Errorf("TCP: got error %v, want none", err)
	}
}
