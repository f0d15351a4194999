package buildservice_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/buildservice"
)

func TestPlanGivesEachHostAnAddress(t *testing.T) {
	got, err := buildservice.Sandbox{Sites: []string{
		"bitbucket.org:443", "registry.example.com:443", "bitbucket.org:7990", "127.0.0.1:5000", "localhost:5001",
	}}.Plan()
	if err != nil {
		t.Fatal(err)
	}
	want := []buildservice.Site{
		{Host: "bitbucket.org", Address: netip.MustParseAddrPort("127.77.0.1:443")},
		{Host: "registry.example.com", Address: netip.MustParseAddrPort("127.77.0.2:443")},
		{Host: "bitbucket.org", Address: netip.MustParseAddrPort("127.77.0.1:7990")},
		{Host: "127.0.0.1", Address: netip.MustParseAddrPort("127.0.0.1:5000")},
		{Host: "localhost", Address: netip.MustParseAddrPort("127.0.0.1:5001")},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("sites (-want +got):\n%s", diff)
	}
	for i, named := range []bool{true, true, true, false, false} {
		if got[i].Named() != named {
			t.Errorf("%s is in /etc/hosts: got %t, want %t", got[i].Host, got[i].Named(), named)
		}
	}
}

// The names become lines of a file in the sandbox, and the addresses listeners.
func TestPlanRefuses(t *testing.T) {
	for _, site := range []string{
		"", "bitbucket.org", "bitbucket.org:0", "bitbucket.org:65536", "bitbucket.org:https", ":443", "10.0.0.5:443",
		"169.254.169.254:80", "[::ffff:127.0.0.1]:443", "10.5:443", "a b:443", "a\nb:443", "a/b:443", "Bitbucket.org:443",
		"-a:443", "a..b:443", "a:443:443", strings.Repeat("a", 64) + ":443", strings.Repeat("a.", 130) + "b:443",
	} {
		if _, err := (buildservice.Sandbox{Sites: []string{site}}).Plan(); err == nil {
			t.Errorf("site %q: got no error, want one", site)
		}
	}
	for name, sandbox := range map[string]buildservice.Sandbox{
		"a site twice":        {Sites: []string{"a:443", "a:443"}},
		"an address twice":    {Sites: []string{"127.0.0.1:443", "localhost:443", "127.0.0.1:443"}},
		"too many sites":      {Sites: strings.Split(strings.Repeat("a:1,", 8)+"a:1", ",")},
		"a large certificate": {Authority: strings.Repeat("x", 17<<10)},
	} {
		if _, err := sandbox.Plan(); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
}
