package network

import (
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/config/netpolicy"
)

func policyOf(t testing.TB, private string, allowed ...string) netpolicy.Policy {
	t.Helper()
	return must.Get[netpolicy.Policy](t)(netpolicy.Parse(private, allowed))
}

// exceptionTests are settings, with the addresses of private networks that they open. The world answers at
// the ports 80 and 81 of each.
var exceptionTests = []struct {
	name    string
	private string
	allowed []string
	opened  []string
}{
	{name: "none", private: "refuse"},
	{
		name: "all private networks", private: "allow",
		opened: []string{
			private4 + ":80", private4 + ":81", "[" + private6 + "]:80", "[" + private6 + "]:81",
			"[" + privateNAT64 + "]:80", "[" + privateNAT64 + "]:81",
		},
	},
	{
		name: "an address", private: "refuse", allowed: []string{private4},
		opened: []string{
			private4 + ":80", private4 + ":81", "[" + privateNAT64 + "]:80", "[" + privateNAT64 + "]:81",
		},
	},
	{
		name: "ports", private: "refuse", allowed: []string{private4 + ":80", "[fd12:3456::/32]:81"},
		opened: []string{private4 + ":80", "[" + privateNAT64 + "]:80", "[" + private6 + "]:81"},
	},
	{
		name: "networks", private: "refuse", allowed: []string{"10.0.0.0/8", "fd00::/8"},
		opened: []string{
			private4 + ":80", private4 + ":81", "[" + private6 + "]:80", "[" + private6 + "]:81",
			"[" + privateNAT64 + "]:80", "[" + privateNAT64 + "]:81",
		},
	},
	{
		name: "a port of a metadata service", private: "refuse", allowed: []string{"169.254.169.254:80"},
		opened: []string{"169.254.169.254:80", "[64:ff9b::a9fe:a9fe]:80"},
	},
}

// exceptionAddresses are the addresses that each test dials.
func exceptionAddresses() (all []string) {
	for _, address := range []string{
		private4, private6, privateNAT64, "169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "100.100.100.200",
	} {
		all = append(all, net.JoinHostPort(address, "80"), net.JoinHostPort(address, "81"))
	}
	return append(all, host4+":8080")
}

// opened returns the addresses that sent a word.
func opened(words map[string]string) map[string]bool {
	all := map[string]bool{}
	for address, word := range words {
		if word != "" {
			all[address] = true
		}
	}
	return all
}

func set(addresses []string) map[string]bool {
	all := map[string]bool{}
	for _, address := range addresses {
		all[address] = true
	}
	return all
}

func TestTheSettingsOpenExactlyTheirAddresses(t *testing.T) {
	w := newWorld(t)
	w.answer(t, w.internet, ":81", "internet")
	for _, test := range exceptionTests {
		t.Run(test.name, func(t *testing.T) {
			o := w.options()
			o.Filter.Policy = policyOf(t, test.private, test.allowed...)
			hook := join(t, newRouter(t, o), "hook")
			got := opened(readAll(hook, exceptionAddresses()))
			if diff := cmp.Diff(set(test.opened), got); diff != "" {
				t.Errorf("reached addresses (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWithoutRootTheSettingsOpenExactlyTheirAddresses(t *testing.T) {
	w := newWorld(t)
	w.answer(t, w.internet, ":81", "internet")
	for _, test := range exceptionTests {
		t.Run(test.name, func(t *testing.T) {
			o := w.rootless(t)
			o.RefusePrivate, o.Allowed = test.private == netpolicy.PrivateRefuse, test.allowed
			o.Dial = exceptionAddresses()
			got := opened(startOwner(t, o).report(t).Words)
			if diff := cmp.Diff(set(test.opened), got); diff != "" {
				t.Errorf("reached addresses (-want +got):\n%s", diff)
			}
		})
	}
}

// An exception does not open the machine's own address without root, where the list of the machine's
// addresses alone refuses it.
func TestWithoutRootTheHostIsNeverAllowed(t *testing.T) {
	w := newWorld(t)
	o := w.rootless(t)
	o.Allowed = []string{host4, bridged + ":8080", "127.0.0.1"}
	o.Dial = []string{host4 + ":8080", bridged + ":8080", "127.0.0.1:8080"}
	if diff := cmp.Diff(map[string]bool{}, opened(startOwner(t, o).report(t).Words)); diff != "" {
		t.Errorf("reached addresses (-want +got):\n%s", diff)
	}
}
