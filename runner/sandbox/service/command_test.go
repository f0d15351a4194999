package service

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v3"

	"slipway/config/must"
	"slipway/config/netpolicy"
)

func TestTheGatewaysUserIsANameOrANumber(t *testing.T) {
	for text, want := range map[string]int{"": 0, "root": 0, "64500": 64500, "daemon": 1} {
		if got, err := parseGatewayUser(text); err != nil || got != want {
			t.Errorf("user %q: got %d, error %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"no-such-user", "-1", "1:2", "4294967295"} {
		if got, err := parseGatewayUser(text); err == nil {
			t.Errorf("user %q: got %d, want an error", text, got)
		}
	}
}

// The builders of a service have its policy, whatever else their arguments are.
func TestTheServicesPolicyIsPassedToItsBuilders(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string // "" = an error
	}{
		{nil, "--private-networks allow"},
		{
			[]string{"--private-networks=refuse", "--allowed-network=10.1.2.3:5000,fd12::/16", "--allowed-network", "10.0.0.0/8"},
			"--private-networks refuse --allowed-network 10.1.2.3:5000 --allowed-network fd12::/16 --allowed-network 10.0.0.0/8",
		},
		{[]string{"--private-networks=no"}, ""},
		{[]string{"--allowed-network=registry.example.com"}, ""},
	} {
		var got string
		cmd := &cli.Command{Flags: PolicyFlags(), Action: func(_ context.Context, cmd *cli.Command) error {
			policy, err := ReadPolicy(cmd)
			if err == nil {
				got = strings.Join(PolicyArgs(policy), " ")
			}
			return err
		}}
		err := cmd.Run(t.Context(), append([]string{"service"}, test.args...))
		if failed := err != nil; failed != (test.want == "") {
			t.Errorf("%v: got error %v, want one %t", test.args, err, test.want == "")
		}
		if got != test.want {
			t.Errorf("%v: got %q, want %q", test.args, got, test.want)
		}
	}
}

func TestTheServiceWarnsOfProxiesThatBuildsDoNotReach(t *testing.T) {
	policy := must.Get[netpolicy.Policy](t)(netpolicy.Parse("refuse", []string{"10.1.2.3:3128"}))
	proxies := []string{"127.0.0.1:3128", "10.1.2.3:3128", "10.1.2.4:3128", "[fd12::1]:3128", "203.0.113.7:80", "bad"}
	want := []string{
		"builds do not reach the proxy 10.1.2.4:3128: address not allowed: 10.1.2.4 is private (10.0.0.0/8), " +
			"which SLIPWAY_PRIVATE_NETWORKS refuses: to allow it, add 10.1.2.4:3128 to SLIPWAY_ALLOWED_NETWORKS",
		"builds do not reach the proxy [fd12::1]:3128: address not allowed: fd12::1 is private (fc00::/7), " +
			"which SLIPWAY_PRIVATE_NETWORKS refuses: to allow it, add [fd12::1]:3128 to SLIPWAY_ALLOWED_NETWORKS",
	}
	if diff := cmp.Diff(want, refusedProxies(proxies, policy)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A runner gets the service's policy, not one of the gateway.
func TestARunnerGetsTheServicesPolicy(t *testing.T) {
	policy := must.Get[netpolicy.Policy](t)(netpolicy.Parse("refuse", []string{"10.1.2.3:5000", "fd12::/16"}))
	a := &attempt{service: &Service{o: Options{Policy: policy}}}
	environ := a.environment()
	for _, want := range []string{
		"SLIPWAY_PRIVATE_NETWORKS=refuse", "SLIPWAY_ALLOWED_NETWORKS=10.1.2.3:5000,fd12::/16",
	} {
		if !slices.Contains(environ, want) {
			t.Errorf("got %q, want %q in it", environ, want)
		}
	}
}
