package config_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"slipway/config"
)

// FuzzLoadGateway checks that the error names the invalid settings and shows no secret. It always
// sets an invalid certificate, so LoadGateway must always fail.
func FuzzLoadGateway(f *testing.F) {
	f.Add("https://ci.example.com/", "2", "4h", "auto", "embedded", "", "")
	f.Add("https://u:p@ci.example.com", "0", "-1s", "vpn", "drone", "tcp://builder:9443", "drone.example.com")
	f.Add("http://[::1]:8080", "9", "24h0m", "none", "drone", "unix:///run/b", "https://drone.example.com")
	f.Add("javascript:alert(1)", "two", "4", "", "", "builder", "\x00")
	f.Add("//evil.example", "1e3", "1ns", "host", "own", "tcp://:1", "http://")
	f.Fuzz(func(t *testing.T, address, concurrency, timeout, network, engine, builder, drone string) {
		const canary = "c4nary-of-a-setting"
		g, err := config.LoadGateway([]string{
			"SLIPWAY_URL=" + address,
			"SLIPWAY_CONCURRENCY=" + concurrency,
			"SLIPWAY_BUILD_TIMEOUT=" + timeout,
			"SLIPWAY_KEEP=" + timeout,
			"SLIPWAY_BUILDER_NETWORK=" + network,
			"SLIPWAY_ENGINE=" + engine,
			"SLIPWAY_BUILDER=" + builder,
			"SLIPWAY_BUILDER_TLS=" + canary,
			"SLIPWAY_DRONE_SERVER=" + drone,
			"SLIPWAY_DRONE_TOKEN=" + canary,
			"SLIPWAY_BITBUCKET_CLIENT_SECRET=" + canary,
		})
		if err != nil {
			if strings.Contains(err.Error(), canary) {
				t.Errorf("got error %v, want no secret in it", err)
			}
			if !strings.Contains(err.Error(), "SLIPWAY_") {
				t.Errorf("got error %v, want the name of a setting in it", err)
			}
			return
		}
		t.Errorf("certificate: got %v, want an error or a valid certificate", g.BuilderTLS)
	})
}

// FuzzLoadGatewayWithoutABuilder sets no certificate, so valid settings are accepted. It checks that
// accepted settings are usable, and that errors name the invalid ones.
func FuzzLoadGatewayWithoutABuilder(f *testing.F) {
	f.Add("https://ci.example.com/", "2", "24h", "auto", "embedded", "")
	f.Add("http://[::1]:8080", "9", "48h0m", "none", "drone", "https://drone.example.com")
	f.Add("https://u:p@ci.example.com", "0", "-1s", "vpn", "drone", "drone.example.com")
	f.Add("HTTPS://Ci.Example.com:443///", "1", "25h", "slirp4netns", "own", "http://d/?q")
	f.Fuzz(func(t *testing.T, address, concurrency, timeout, network, engine, drone string) {
		g, err := config.LoadGateway([]string{
			"SLIPWAY_URL=" + address,
			"SLIPWAY_CONCURRENCY=" + concurrency,
			"SLIPWAY_BUILD_TIMEOUT=" + timeout,
			"SLIPWAY_KEEP=" + timeout,
			"SLIPWAY_BUILDER_NETWORK=" + network,
			"SLIPWAY_ENGINE=" + engine,
			"SLIPWAY_DRONE_SERVER=" + drone,
			"SLIPWAY_DRONE_TOKEN=hush",
		})
		if err != nil {
			if !strings.Contains(err.Error(), "SLIPWAY_") {
				t.Errorf("got error %v, want the name of a setting in it", err)
			}
			return
		}
		for name, origin := range map[string]string{"url": g.URL, "drone": g.Drone.Server} {
			u, err := url.Parse(origin + "/hooks/bitbucket/x")
			if origin == "" && name != "url" {
				continue
			}
			if err != nil {
				t.Fatalf("%s is %q: %v", name, origin, err)
			}
			if u.Host == "" {
				t.Errorf("%s: got %q, want a host in it", name, origin)
			}
			if !slices.Contains([]string{"http", "https"}, u.Scheme) {
				t.Errorf("%s: got %q with scheme %q, want http or https", name, origin, u.Scheme)
			}
			if u.User != nil {
				t.Errorf("%s: got %q, want no user in it", name, origin)
			}
			if u.RawQuery+u.Fragment != "" {
				t.Errorf("%s: got %q, want no query or fragment", name, origin)
			}
			if strings.HasSuffix(origin, "/") {
				t.Errorf("%s: got %q, want no trailing slash", name, origin)
			}
		}
		if g.Concurrency < 1 {
			t.Errorf("concurrency: got %d, want an error or 1 or more", g.Concurrency)
		}
		if g.BuildTimeout <= 0 {
			t.Errorf("build time-out: got %s, want an error or more than 0", g.BuildTimeout)
		}
		if g.Keep < g.PollInterval {
			t.Errorf(
				"retention of builds: got %s, want an error or at least the poll interval %s",
				g.Keep,
				g.PollInterval,
			)
		}
		if !slices.Contains(g.Engines(), g.Engine) {
			t.Errorf("engine: got %q, want an error or one of %v", g.Engine, g.Engines())
		}
	})
}
