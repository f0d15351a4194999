package config_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"slipway/config"
)

func TestLoadGatewayDefaults(t *testing.T) {
	g, err := config.LoadGateway([]string{
		"SLIPWAY_URL=https://ci.example.com/", "SLIPWAY_BITBUCKET_CLIENT_SECRET=hush",
		"SLIPWAY_DATA=/var/lib/slipway", "SLIPWAY_METRICS_TOKEN=0123456789abcdef",
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]any{
		"URL":          {g.URL, "https://ci.example.com"},
		"Listen":       {g.Listen, ":8080"},
		"BuildTimeout": {g.BuildTimeout, 4 * time.Hour},
		"Keep":         {g.Keep, 90 * 24 * time.Hour},
		"Concurrency":  {g.Concurrency, 2},
		"Key":          {g.Key, "/var/lib/slipway/secret.key"},
	} {
		if got, want := pair[0], pair[1]; got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	if g.ClientSecret.Reveal() != "hush" || strings.Contains(g.ClientSecret.String(), "hush") {
		t.Error("client secret: got another value, or a printed one, want hush, and *** in print")
	}
}

func TestLoadGatewayNamesInvalidSettings(t *testing.T) {
	for _, tc := range []struct {
		name    string
		environ []string
		want    []string
	}{
		{"no url", nil, []string{"SLIPWAY_URL is not set"}},
		{"bad url", []string{"SLIPWAY_URL=ci.example.com"}, []string{"SLIPWAY_URL", "not an http or https address"}},
		{"password in url", []string{"SLIPWAY_URL=https://u:hush@ci.example.com"}, []string{"SLIPWAY_URL", "must have no user"}},
		{"several", []string{"SLIPWAY_URL=https://x.example", "SLIPWAY_CONCURRENCY=0", "SLIPWAY_BUILDER_NETWORK=vpn", "SLIPWAY_PUSH_HOOKS=yes", "SLIPWAY_HOOKS=no", "SLIPWAY_CACHE_DOMAIN=all"},
			[]string{"SLIPWAY_CONCURRENCY is 0", `SLIPWAY_BUILDER_NETWORK is "vpn"`, `SLIPWAY_PUSH_HOOKS is "yes": use on or off`, `SLIPWAY_HOOKS is "no": use on or off`,
				`SLIPWAY_CACHE_DOMAIN is "all": use automated-build or workspace`}},
		{"negative limits", []string{"SLIPWAY_URL=https://x.example", "SLIPWAY_CONCURRENCY_PER_BUILD=-1", "SLIPWAY_CONCURRENCY_PER_WORKSPACE=-2"},
			[]string{"SLIPWAY_CONCURRENCY_PER_BUILD is -1: set at least 1", "SLIPWAY_CONCURRENCY_PER_WORKSPACE is -2: set at least 1"}},
		{"negative limits of a CI", []string{"SLIPWAY_URL=https://x.example", "SLIPWAY_DRONE_SERVER=https://x.example", "SLIPWAY_DRONE_CONCURRENCY_PER_BUILD=-1", "SLIPWAY_DRONE_CONCURRENCY_PER_WORKSPACE=-2"},
			[]string{"SLIPWAY_DRONE_CONCURRENCY_PER_BUILD is -1", "SLIPWAY_DRONE_CONCURRENCY_PER_WORKSPACE is -2"}},
		{"limits of a build", []string{"SLIPWAY_URL=https://x.example", "SLIPWAY_BUILD_MEMORY=much", "SLIPWAY_BUILD_PROCESSES=-1", "SLIPWAY_BUILD_CPUS=-1"},
			[]string{`SLIPWAY_BUILD_MEMORY is "much"`, "SLIPWAY_BUILD_PROCESSES is -1", "SLIPWAY_BUILD_CPUS is -1"}},
		{"networks", []string{"SLIPWAY_URL=https://x.example", "SLIPWAY_PRIVATE_NETWORKS=no", "SLIPWAY_ALLOWED_NETWORKS=10.1.2.3, 10.1.2.3/8"},
			[]string{
				`SLIPWAY_PRIVATE_NETWORKS is "no": use allow or refuse`,
				`SLIPWAY_ALLOWED_NETWORKS: entry 2: "10.1.2.3/8" is not the first address of its network: write 10.0.0.0/8`,
			}},
		{"no memory", []string{"SLIPWAY_URL=https://x.example", "SLIPWAY_BUILD_MEMORY=0"}, []string{"SLIPWAY_BUILD_MEMORY"}},
		{"no number of processors", []string{"SLIPWAY_URL=https://x.example", "SLIPWAY_BUILD_CPUS=NaN"}, []string{"SLIPWAY_BUILD_CPUS"}},
		{"endless processors", []string{"SLIPWAY_URL=https://x.example", "SLIPWAY_BUILD_CPUS=Inf"}, []string{"SLIPWAY_BUILD_CPUS"}},
		{"not a number", []string{"SLIPWAY_URL=https://x.example", "SLIPWAY_CONCURRENCY=two"}, []string{"SLIPWAY_CONCURRENCY", "two"}},
		{"no time", []string{"SLIPWAY_URL=https://x.example", "SLIPWAY_BUILD_TIMEOUT=0s", "SLIPWAY_POLL_INTERVAL=-1s", "SLIPWAY_RECONCILE_INTERVAL=0s"}, []string{"SLIPWAY_BUILD_TIMEOUT", "SLIPWAY_POLL_INTERVAL", "SLIPWAY_RECONCILE_INTERVAL"}},
		{"an engine without a server", []string{"SLIPWAY_URL=https://x.example", "SLIPWAY_ENGINE=drone"}, []string{`SLIPWAY_ENGINE is "drone"`, "which is not configured: use one of embedded, own, or set its server"}},
		{"a CI without a token", []string{"SLIPWAY_URL=https://x.example", "SLIPWAY_DRONE_SERVER=ci.example.com", "SLIPWAY_DRONE_TYPE=vm", "SLIPWAY_DRONE_PLATFORM=linux", "SLIPWAY_DRONE_REPOSITORY=builder", "SLIPWAY_DRONE_IMAGE=", "SLIPWAY_DRONE_CONCURRENCY=-1"},
			[]string{"SLIPWAY_DRONE_SERVER", "SLIPWAY_DRONE_TOKEN is not set", "SLIPWAY_DRONE_TYPE", "SLIPWAY_DRONE_PLATFORM", `SLIPWAY_DRONE_REPOSITORY is "builder"`, "SLIPWAY_DRONE_CONCURRENCY is -1"}},
		{"values of Woodpecker", []string{"SLIPWAY_URL=https://x.example", "SLIPWAY_WOODPECKER_SERVER=https://x.example", "SLIPWAY_WOODPECKER_TOKEN=hush", "SLIPWAY_WOODPECKER_EXTENSIONS=both", "SLIPWAY_QUEUE_TIMEOUT=0s"},
			[]string{`SLIPWAY_WOODPECKER_EXTENSIONS is "both": use repository or server`, "SLIPWAY_QUEUE_TIMEOUT is 0s: set a time"}},
		{"a CI's number", []string{"SLIPWAY_URL=https://x.example", "SLIPWAY_WOODPECKER_CONCURRENCY=many"}, []string{"SLIPWAY_WOODPECKER_CONCURRENCY", "many"}},
		{"a remote builder without a certificate", []string{"SLIPWAY_URL=https://x.example", "SLIPWAY_BUILDER=tcp://builder:9443", "SLIPWAY_DRONE_SERVER=https://x.example", "SLIPWAY_DRONE_TOKEN=hush", "SLIPWAY_DRONE_BUILDER=tcp://10.0.0.1:9443"},
			[]string{"SLIPWAY_BUILDER_TLS is not set", "SLIPWAY_DRONE_BUILDER_TLS is not set", "slipway builder keys"}},
		{"no builder's address", []string{"SLIPWAY_URL=https://x.example", "SLIPWAY_BUILDER=builder:9443"}, []string{"SLIPWAY_BUILDER: ", "tcp://builder.example.com:9443"}},
		{"not a certificate", []string{"SLIPWAY_URL=https://x.example", "SLIPWAY_BUILDER=tcp://builder:9443", "SLIPWAY_BUILDER_TLS=hush"}, []string{"SLIPWAY_BUILDER_TLS: it is not a certificate"}},
		{"a database without a key", []string{"SLIPWAY_URL=https://x.example", "SLIPWAY_DATABASE=postgres://u:hush@db/slipway", "SLIPWAY_ENGINE=own"}, []string{"SLIPWAY_KEY_FILE is not set"}},
		{"several gateways without a builder", []string{"SLIPWAY_URL=https://x.example", "SLIPWAY_DATABASE=postgres://u:hush@db/slipway", "SLIPWAY_KEY_FILE=/key"}, []string{"set SLIPWAY_BUILDER"}},
		{"a token that can be guessed", []string{"SLIPWAY_URL=https://x.example", "SLIPWAY_METRICS_TOKEN=hush-hush-hush-"}, []string{"SLIPWAY_METRICS_TOKEN has 15 characters"}},
		{"nothing kept", []string{"SLIPWAY_URL=https://x.example", "SLIPWAY_KEEP=23h"}, []string{"SLIPWAY_KEEP is 23h0m0s"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := config.LoadGateway(tc.environ)
			if err == nil {
				t.Fatal("load: got no error, want one")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got error %q, want %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("load: got error %q, want no password in it", err)
			}
		})
	}
}

func TestLoadGatewayAcceptsCIs(t *testing.T) {
	g, err := config.LoadGateway([]string{
		"SLIPWAY_URL=https://x.example",
		"SLIPWAY_ENGINE=woodpecker",
		"SLIPWAY_DRONE_SERVER=https://drone.example.com/",
		"SLIPWAY_DRONE_TOKEN=hush",
		"SLIPWAY_DRONE_TYPE=exec",
		"SLIPWAY_DRONE_REPOSITORY=acme/builder",
		"SLIPWAY_WOODPECKER_SERVER=http://woodpecker",
		"SLIPWAY_WOODPECKER_TOKEN=hush",
		"SLIPWAY_WOODPECKER_LABELS=disk=ssd,zone=a",
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(g.Engines(), []string{"embedded", "own", "drone", "woodpecker"}) {
		t.Errorf("engines: got %v, want embedded, own, drone, woodpecker", g.Engines())
	}
	for name, pair := range map[string][2]string{
		"Drone's server":          {g.Drone.Server, "https://drone.example.com"},
		"Drone's token":           {g.Drone.Token.Reveal(), "hush"},
		"Drone's image":           {g.Drone.Image, "slipway"},
		"Drone's platform":        {g.Drone.Platform, "linux/amd64"},
		"Woodpecker's label disk": {g.Woodpecker.Labels["disk"], "ssd"},
		"Woodpecker's label zone": {g.Woodpecker.Labels["zone"], "a"},
		"Woodpecker's repository": {g.Woodpecker.Repository, ""},
	} {
		if got, want := pair[0], pair[1]; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestGatewaySettingsAreDescribed(t *testing.T) {
	for _, s := range config.GatewaySettings() {
		if !strings.HasPrefix(s.Name, "SLIPWAY_") || s.Help == "" {
			t.Errorf("setting: got %+v, want help and a name that starts with SLIPWAY_", s)
		}
	}
}

func TestHelpHasALineForEachSetting(t *testing.T) {
	got := config.Help(
		[]config.Setting{{Name: "SLIPWAY_A", Help: "the first"}, {Name: "SLIPWAY_B", Default: "2", Help: "the second"}},
	)
	want := "  SLIPWAY_A                          the first\n  SLIPWAY_B                          the second [2]\n"
	if got != want {
		t.Errorf("help: got:\n%s\nwant:\n%s", got, want)
	}
}
