package network

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"slipway/config/netpolicy"
)

// refuses is like refusesPort, for packets that are not TCP.
func refuses(t interface{ Fatalf(string, ...any) }, rules string, address netip.Addr) bool {
	return refusesPort(t, rules, netip.AddrPortFrom(address, 0))
}

// refusesPort evaluates the rules of a router's chain FORWARD for a new connection from the bridge to the
// uplink, as the kernel does: the first rule that matches decides.
func refusesPort(t interface{ Fatalf(string, ...any) }, rules string, target netip.AddrPort) bool {
	address := target.Addr()
	chain := func(name string) (verdict string) {
		for line := range strings.Lines(rules) {
			words := strings.Fields(line)
			if len(words) < 2 || words[0] != "-A" || words[1] != name || strings.Contains(line, " -m ") {
				continue // rules with modules are for other packets
			}
			matches := true
			for i, word := range words {
				switch word {
				case "-d":
					network, err := netip.ParsePrefix(words[i+1])
					if err != nil {
						single := netip.MustParseAddr(words[i+1])
						network = netip.PrefixFrom(single, single.BitLen())
					}
					matches = matches && network.Contains(address)
				case "--dport":
					matches = matches && words[i+1] == strconv.Itoa(int(target.Port()))
				case "-i":
					matches = matches && words[i+1] == bridgeName
				case "-o":
					matches = matches && words[i+1] == uplinkName
				case "-j":
					verdict = words[i+1]
				}
			}
			if matches && verdict != hostChain {
				return verdict
			}
			if matches {
				return "jump"
			}
		}
		return "DROP"
	}
	verdict := chain("FORWARD")
	if verdict == "jump" {
		if chain(hostChain) == "REJECT" {
			return true
		}
		_, after, _ := strings.Cut(rules, "-j "+hostChain+"\n")
		return refusesPort(t, after, target)
	}
	if verdict != "ACCEPT" && verdict != "REJECT" {
		t.Fatalf("%s: got verdict %q, want ACCEPT or REJECT", address, verdict)
	}
	return verdict == "REJECT"
}

func rulesFor(f Filter, version family, host ...netip.Addr) string {
	return f.routerRules(version, gateway(version), []netip.Prefix{uplinkNetwork4, uplinkNetwork6}, f.listed(host))
}

// The packet filter and the dialer decide in the same way, from one table.
func TestFilterDecidesAsThePolicy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := Filter{Policy: netpolicy.Policy{RefusePrivate: rapid.Bool().Draw(t, "refuse private")}}
		allowed := []string{
			"10.0.0.0/8",
			"100.64.0.0/10",
			"100.100.100.200/32",
			"169.254.169.254/32",
			"0.0.0.0/0",
			"fc00::/7",
			"fd00:ec2::254/128",
		}
		for _, network := range rapid.SliceOfDistinct(rapid.SampledFrom(allowed), rapid.ID).Draw(t, "allowed") {
			f.Policy.Exceptions = append(f.Policy.Exceptions, netpolicy.Exception{
				Network: netip.MustParsePrefix(network),
				Port:    rapid.SampledFrom([]uint16{0, 80}).Draw(t, "port of "+network),
			})
		}
		address := drawAddress(t)
		target := netip.AddrPortFrom(address, rapid.SampledFrom([]uint16{0, 80, 81}).Draw(t, "port"))
		if uplinkNetwork4.Contains(address) || uplinkNetwork6.Contains(address) {
			t.Skip("the networks of uplinks are refused by the router alone")
		}
		want := f.Policy.CheckPort(target) != nil
		got := refusesPort(t, rulesFor(f, familyOf(address)), target)
		stricter := got && isCarried(address)
		if got != want && !stricter {
			t.Fatalf("%s with %+v: got refused %t, want %t", target, f.Policy, got, want)
		}
	})
}

// isCarried reports whether the filter may refuse an address that the policy allows: it refuses the
// networks whose addresses carry an IPv4 address, except NAT64's.
func isCarried(address netip.Addr) bool {
	return !nat64.Contains(address) && slices.ContainsFunc(netpolicy.Carriers(), func(n netip.Prefix) bool {
		return n.Contains(address)
	})
}

// drawAddress returns an address in or near a network of the policy.
func drawAddress(t *rapid.T) netip.Addr {
	var networks []netip.Prefix
	for _, rule := range (netpolicy.Policy{RefusePrivate: true}).Rules() {
		networks = append(networks, rule.Network)
		if rule.Network.Addr().Is4() {
			networks = append(networks, inNAT64(rule.Network))
		}
	}
	networks = append(networks, netpolicy.Carriers()...)
	networks = append(networks, netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("2000::/3"))
	network := rapid.SampledFrom(networks).Draw(t, "network")
	bytes := network.Addr().AsSlice()
	random := rapid.SliceOfN(rapid.Byte(), len(bytes), len(bytes)).Draw(t, "random")
	// One bit of the network may differ.
	kept := max(network.Bits()-rapid.IntRange(0, 1).Draw(t, "outside"), 0)
	for bit := kept; bit < 8*len(bytes); bit++ {
		mask := byte(0x80) >> (bit % 8)
		bytes[bit/8] = bytes[bit/8]&^mask | random[bit/8]&mask
	}
	address, _ := netip.AddrFromSlice(bytes)
	return address
}

func TestFilterRefusesTheHostsAddresses(t *testing.T) {
	var f Filter
	host := []netip.Addr{
		netip.MustParseAddr("203.0.113.9"),
		netip.MustParseAddr("2001:db8::9"),
		netip.MustParseAddr("10.1.2.3"),
		netip.MustParseAddr(
			"fe80::1%eth0",
		),
		netip.MustParseAddr("::ffff:203.0.113.9"),
		netip.MustParseAddr("127.0.0.1"),
	}
	want := []string{"10.1.2.3", "203.0.113.9", "2001:db8::9"} // the others are refused anyway
	var listed []string
	for _, address := range f.listed(host) {
		listed = append(listed, address.String())
	}
	if diff := cmp.Diff(want, listed); diff != "" {
		t.Errorf("listed addresses (-want +got):\n%s", diff)
	}
	for _, address := range want {
		a := netip.MustParseAddr(address)
		if !refuses(t, rulesFor(f, familyOf(a), host...), a) {
			t.Errorf("%s: got it allowed, want it refused", address)
		}
		if refuses(t, rulesFor(f, familyOf(a)), a) {
			t.Errorf("%s without the host: got it refused, want it allowed", address)
		}
	}
}

func TestAllowedNetworksDoNotContainTheHost(t *testing.T) {
	f := Filter{
		Policy: netpolicy.Policy{
			RefusePrivate: true,
			Exceptions: []netpolicy.Exception{
				{Network: netip.MustParsePrefix("10.1.2.3/32")},
				{Network: netip.MustParsePrefix("10.1.2.4/32"), Port: 80},
				{Network: netip.MustParsePrefix("127.0.0.1/32"), Port: 80},
			},
		},
	}
	for _, address := range []string{"10.1.2.3:80", "10.1.2.4:80", "127.0.0.1:80"} {
		host := netip.MustParseAddrPort(address)
		if !refusesPort(t, rulesFor(f, ipv4, host.Addr()), host) {
			t.Errorf("%s: got the host's address allowed, want it refused", address)
		}
		if refusesPort(t, rulesFor(f, ipv4), host) {
			t.Errorf("%s of another machine: got it refused, want it allowed", address)
		}
	}
}

func TestMissingHostRules(t *testing.T) {
	complete := func(version family) string {
		var b strings.Builder
		for _, table := range []string{"filter", "nat"} {
			b.WriteString("*" + table + "\n:OTHER - [0:0]\n-A OTHER -j RETURN\n")
			for _, j := range jumps() {
				if j.table == table {
					b.WriteString("-A " + j.chain + " " + j.rule + "\n")
				}
			}
			b.WriteString(strings.Join(hostTables(version)[table], "\n") + "\nCOMMIT\n")
		}
		return b.String()
	}
	for _, test := range []struct {
		name    string
		remove  string
		want    []string
		without []string
	}{
		{"none", "", nil, []string{"*"}},
		{
			"a jump", "-A FORWARD -o slwn+ -j SLIPWAY-NET-FORWARD\n",
			[]string{"-I FORWARD 1 -o slwn+ -j SLIPWAY-NET-FORWARD"}, []string{"-I INPUT", "-A SLIPWAY", "*nat"},
		},
		{
			"a rule", "-A SLIPWAY-NET-FORWARD -m conntrack --ctstate DNAT -j DROP\n",
			[]string{":SLIPWAY-NET-FORWARD - [0:0]", "-A SLIPWAY-NET-FORWARD -m conntrack --ctstate DNAT -j DROP"},
			[]string{"-I ", "*nat"},
		},
	} {
		for _, version := range []family{ipv4, ipv6} {
			got := missingHostRules(version, strings.Replace(complete(version), test.remove, "", 1))
			for _, line := range test.want {
				if !strings.Contains(got, line+"\n") {
					t.Errorf("%s, IPv%d: got %q, want it to contain %q", test.name, version, got, line)
				}
			}
			for _, text := range test.without {
				if strings.Contains(got, text) {
					t.Errorf("%s, IPv%d: got %q, want no %q", test.name, version, got, text)
				}
			}
		}
	}
}

func TestUplinksHaveAddressesOfTheirOwn(t *testing.T) {
	host, router := uplinkAddresses(uplinkNetwork4, maxUplinks-1)
	if got, want := host.String()+" "+router.String(), "198.19.255.254/31 198.19.255.255/31"; got != want {
		t.Errorf("the last uplink: got %s, want %s", got, want)
	}
	host, router = uplinkAddresses(uplinkNetwork6, 3)
	if got, want := host.String()+" "+router.String(), "fd73:6c69:7077:2::6/127 fd73:6c69:7077:2::7/127"; got != want {
		t.Errorf("uplink 3: got %s, want %s", got, want)
	}
	if got, want := uplinkLink(maxUplinks-1), "slwn7fff"; got != want {
		t.Errorf("the last uplink's name: got %s, want %s", got, want)
	}
}
