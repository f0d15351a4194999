package source

import (
	"errors"
	"strings"
	"testing"

	"slipway/config/must"
	"slipway/config/netpolicy"
)

// The repository controls the addresses of submodules. In no form may they lead to a service that only this
// machine can reach.
func TestSubmodulesAreNotFetchedFromThisMachine(t *testing.T) {
	const origin = "https://bitbucket.org/acme/app.git"
	for _, host := range []string{
		"127.0.0.1", "0.0.0.0", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "169.254.169.254", "100.100.100.200",
		"168.63.129.16", "fd00:ec2::254", "localhost",
	} {
		for _, ssh := range []bool{false, true} {
			if _, err := (address{host: host, port: "443", ssh: ssh}).pin(
				t.Context(),
				origin,
				netpolicy.Policy{},
			); !errors.Is(
				err,
				errRefused,
			) {
				t.Errorf("%s, ssh %t: got %v, want errRefused", host, ssh, err)
			}
		}
	}
	if _, err := (address{host: "203.0.113.5", port: "443"}).pin(t.Context(), origin, netpolicy.Policy{}); err != nil {
		t.Errorf("203.0.113.5: got %v, want no error", err)
	}
	if _, err := (address{host: "127.0.0.1", port: "443"}).pin(
		t.Context(),
		"https://127.0.0.1/acme/app.git",
		netpolicy.Policy{},
	); err != nil {
		t.Errorf("the repository's own host: got %v, want no error", err)
	}
}

// The settings of networks hold for submodules, which the runner fetches from the machine's network.
func TestSubmodulesInPrivateNetworks(t *testing.T) {
	const origin = "https://bitbucket.org/acme/app.git"
	for _, test := range []struct {
		private string
		allowed []string
		url     string
		refused bool
	}{
		{"allow", nil, "https://10.1.2.3/a.git", false},
		{"refuse", nil, "https://10.1.2.3/a.git", true},
		{"refuse", []string{"10.1.2.3"}, "https://10.1.2.3/a.git", false},
		{"refuse", []string{"10.1.2.3:443"}, "https://10.1.2.3/a.git", false},
		{"refuse", []string{"10.1.2.3:443"}, "http://10.1.2.3/a.git", true},
		{"refuse", []string{"10.1.2.3:22"}, "git@10.1.2.3:a.git", false},
		{"refuse", []string{"10.1.2.3:22"}, "ssh://git@10.1.2.3:2222/a.git", true},
		{"refuse", []string{"10.1.2.3:2222"}, "ssh://git@10.1.2.3:2222/a.git", false},
		{"refuse", nil, "https://[64:ff9b::a01:203]/a.git", true},
	} {
		policy := must.Get[netpolicy.Policy](t)(netpolicy.Parse(test.private, test.allowed))
		a := must.Get[address](t)(resolveAddress(origin, test.url, true))
		_, err := a.pin(t.Context(), origin, policy)
		if got := errors.Is(err, errRefused); got != test.refused {
			t.Errorf("%s, %s with %v: got %v, want refused %t", test.url, test.private, test.allowed, err, test.refused)
		}
		if err != nil &&
			!strings.Contains(err.Error(), "SLIPWAY_PRIVATE_NETWORKS refuses: to allow it, add 10.1.2.3:") {
			t.Errorf("%s: got %q, want the setting in it", test.url, err)
		}
	}
}
