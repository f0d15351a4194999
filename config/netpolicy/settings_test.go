package netpolicy_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/config/netpolicy"
)

func TestParseException(t *testing.T) {
	for text, want := range map[string]string{
		"10.1.2.3":          "10.1.2.3/32 0",
		"10.1.2.3/32":       "10.1.2.3/32 0",
		"10.1.2.3:5000":     "10.1.2.3/32 5000",
		"10.0.0.0/8":        "10.0.0.0/8 0",
		"10.0.0.0/8:443":    "10.0.0.0/8 443",
		"127.0.0.1:8065":    "127.0.0.1/32 8065",
		"169.254.169.254":   "169.254.169.254/32 0",
		"100.64.0.0/10":     "100.64.0.0/10 0",
		"203.0.113.7:65535": "203.0.113.7/32 65535",
		"fd12::1":           "fd12::1/128 0",
		"[fd12::1]":         "fd12::1/128 0",
		"[fd12::1]:443":     "fd12::1/128 443",
		"fd12::/16":         "fd12::/16 0",
		"[fd12::/16]:443":   "fd12::/16 443",
		"::1":               "::1/128 0",
	} {
		got, err := netpolicy.ParseException(text)
		if err != nil {
			t.Errorf("%q: got %v, want an exception", text, err)
			continue
		}
		if parsed := got.Network.String() + " " + portText(got.Port); parsed != want {
			t.Errorf("%q: got %q, want %q", text, parsed, want)
		}
		if again, err := netpolicy.ParseException(got.String()); err != nil || again != got {
			t.Errorf("%q: its text %q is parsed as %v, %v", text, got, again, err)
		}
	}
}

func portText(port uint16) string {
	return strings.TrimPrefix(netip.AddrPortFrom(netip.MustParseAddr("0.0.0.0"), port).String(), "0.0.0.0:")
}

// Each error has the wrong value and the fix.
func TestParseExceptionErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                     "10.1.2.3, 10.0.0.0/8 or 10.1.2.3:5000",
		"registry.example.com": "Names are not possible",
		"registry:5000":        "Names are not possible",
		"10.1.2.3/8":           "write 10.0.0.0/8 for the network, or 10.1.2.3",
		"10.1.2.3/33":          "is neither an address nor a network",
		"010.1.2.3":            "is neither an address nor a network",
		"10.1.2.3:0":           "use a number from 1 to 65535",
		"10.1.2.3:65536":       "use a number from 1 to 65535",
		"10.1.2.3:":            "use a number from 1 to 65535",
		"10.1.2.3:http":        "use a number from 1 to 65535",
		"[fd12::1":             "no closing bracket",
		"[fd12::1]443":         "text after the bracket",
		"fe80::1%eth0":         "names an interface: write fe80::1",
		"::ffff:10.1.2.3":      "write 10.1.2.3",
		"64:ff9b::a01:203":     "write 10.1.2.3",
		"64:ff9b::a00:0/104":   "write 10.0.0.0",
		"2002:a01:203::/48":    "write 10.1.2.3",
		"0.0.0.0":              "means every address of this machine",
		"::":                   "means every address of this machine",
		"0.0.0.0/0":            "is larger than 10.0.0.0/8",
		"::/0":                 "is larger than fc00::/7",
		"172.0.0.0/11":         "write 172.16.0.0/12",
	} {
		got, err := netpolicy.ParseException(text)
		if err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
			continue
		}
		if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"`+text+`"`) {
			t.Errorf("%q: got %q, want the value and %q in it", text, err, want)
		}
	}
}

func TestParseNamesTheSettingAndTheEntry(t *testing.T) {
	_, err := netpolicy.Parse("deny", []string{"10.1.2.3", " fd12::/16 ", "registry.example.com"})
	if err == nil {
		t.Fatal("got no error, want one")
	}
	want := `SLIPWAY_PRIVATE_NETWORKS is "deny": use allow or refuse
SLIPWAY_ALLOWED_NETWORKS: entry 3: "registry.example.com" is neither an address nor a network: ` +
		`write it in the form 10.1.2.3, 10.0.0.0/8 or 10.1.2.3:5000. ` +
		`Names are not possible, because a packet filter sees addresses only`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func TestSettingsAreThoseOfParse(t *testing.T) {
	for _, want := range []netpolicy.Policy{
		{},
		must.Get[netpolicy.Policy](t)(netpolicy.Parse("refuse", []string{"10.0.0.0/8:5000", "[fd12::1]:443", "127.0.0.1"})),
	} {
		got, err := netpolicy.Parse(want.Settings())
		if err != nil {
			t.Fatal(err)
		}
		comparePrefixes := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
		if diff := cmp.Diff(want, got, comparePrefixes); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// An exception for a port opens no other port, and never the machine itself unless the policy says so.
func TestExceptions(t *testing.T) {
	for _, test := range []struct {
		allowed string
		openOwn bool
		target  string
		want    string // in the error; "" = allowed
	}{
		{"10.1.2.3:5000", false, "10.1.2.3:5000", ""},
		{"10.1.2.3:5000", false, "[::ffff:10.1.2.3]:5000", ""},
		{"10.1.2.3:5000", false, "[64:ff9b::a01:203]:5000", ""},
		{
			"10.1.2.3:5000", false, "10.1.2.3:80",
			"10.1.2.3 is private (10.0.0.0/8), which SLIPWAY_PRIVATE_NETWORKS refuses: " +
				"to allow it, add 10.1.2.3:80 to SLIPWAY_ALLOWED_NETWORKS",
		},
		{"[fd12::/16]:443", false, "[fd12::9]:443", ""},
		{"[fd12::/16]:443", false, "[fd12::9]:80", "add [fd12::9]:80 to SLIPWAY_ALLOWED_NETWORKS"},
		{"169.254.0.0/16", false, "169.254.169.254:80", ""},
		{"10.0.0.0/8", false, "169.254.169.254:80", "169.254.169.254 is link-local (169.254.0.0/16): to allow it, add "},
		{"127.0.0.1", false, "127.0.0.1:80", "127.0.0.1 is this machine's own: builds reach only registries there"},
		{"127.0.0.2", false, "127.0.0.2:80", "SLIPWAY_BUILDER_LOCAL_REGISTRIES"},
		{"127.0.0.1:80", true, "127.0.0.1:80", ""},
		{"127.0.0.1:80", true, "127.0.0.1:81", "127.0.0.1 is loopback: to allow it, add 127.0.0.1:81 to "},
		{"127.0.0.0/8", true, "127.0.0.1:80", "127.0.0.1 is this machine's own: to allow it, add 127.0.0.1:80 to "},
		{"127.0.0.1", true, "0.0.0.0:80", "0.0.0.0 is unspecified"},
		{"203.0.113.0/24", true, "203.0.113.9:443", "203.0.113.9 is this machine's own: to allow it, add 203.0.113.9:443"},
		{"203.0.113.9", true, "203.0.113.9:443", ""},
		{"203.0.113.9", false, "203.0.113.9:443", "203.0.113.9 is this machine's own"},
	} {
		p := must.Get[netpolicy.Policy](t)(netpolicy.Parse("refuse", []string{test.allowed}))
		p.OpenOwn, p.Own = test.openOwn, []netip.Addr{netip.MustParseAddr("203.0.113.9")}
		err := p.CheckPort(netip.MustParseAddrPort(test.target))
		if test.want == "" {
			if err != nil {
				t.Errorf("%s with %s: got %v, want it allowed", test.target, test.allowed, err)
			}
			continue
		}
		if !errors.Is(err, netpolicy.ErrRefused) {
			t.Errorf("%s with %s: got %v, want ErrRefused", test.target, test.allowed, err)
			continue
		}
		if !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s with %s: got %q, want %q in it", test.target, test.allowed, err, test.want)
		}
	}
}
