package sandbox

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestABuilderLearnsOfItsNetwork(t *testing.T) {
	want := Network{
		Given:    true,
		Resolver: netip.MustParseAddr("198.18.0.1"),
		Machine:  []netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("fe80::1%eth0")},
		Local:    []string{"registry.example.com"},
	}
	_, value, _ := strings.Cut(want.Environ()[0], "=")
	got := readNetwork(func(string) string { return value })
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("network (-want +got):\n%s", diff)
	}
	for _, text := range []string{"", "1", "{"} {
		if got := readNetwork(func(string) string { return text }); got.Given {
			t.Errorf("%q: got %+v, want the machine's network", text, got)
		}
	}
}

func TestFilesOfANetwork(t *testing.T) {
	n := Network{Resolver: netip.MustParseAddr("198.18.0.1"), Local: []string{"registry.example.com"}}
	resolv := n.resolvConfOf("# by DHCP\nnameserver 192.0.2.53\n\nsearch example.com\noptions ndots:2\n")
	if want := "nameserver 198.18.0.1\nsearch example.com\noptions ndots:2\n"; resolv != want {
		t.Errorf("resolv.conf: got %q, want %q", resolv, want)
	}
	hosts := n.hostsOf("127.0.0.1 localhost\n192.0.2.2 Registry.example.com host\n::1 localhost")
	if want := "127.0.0.1 registry.example.com\n127.0.0.1 localhost\n::1 localhost\n"; hosts != want {
		t.Errorf("hosts: got %q, want %q", hosts, want)
	}
}
