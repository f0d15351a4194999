package netpolicy

import (
	"cmp"
	"net/netip"
	"slices"
)

// A Rule decides on the addresses of one network.
type Rule struct {
	Network netip.Prefix
	Port    uint16 // the rule is for this TCP port alone; 0 = for all packets
	Refused string // kind of the refused addresses, for example "loopback"; empty = allowed
}

// Rules returns the policy's rules. The first rule that matches an address and a port decides. An
// address without a rule is allowed. Small networks come first.
//
// The rules are for packet filters, which know neither host names nor this machine. So they omit
// Policy.Allow and this machine's addresses. A filter also needs Carriers.
func (p Policy) Rules() []Rule {
	rules := make([]Rule, 0, len(p.Exceptions)+len(special)+len(private))
	for _, e := range p.Exceptions {
		rules = append(rules, Rule{Network: e.Network.Masked(), Port: e.Port})
	}
	rules = append(rules, special...)
	if p.RefusePrivate {
		rules = append(rules, private...)
	}
	// An allowed network comes before a refused one of the same size, because the sort is stable.
	slices.SortStableFunc(rules, func(a, b Rule) int { return cmp.Compare(b.Network.Bits(), a.Network.Bits()) })
	return rules
}

const (
	loopback  = "loopback"
	linkLocal = "link-local"
	multicast = "multicast"
	reserved  = "reserved or a metadata service"
	ofUsers   = "private"
)

// special are addresses and networks that no public service has.
// Source: https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-special-registry
var special = []Rule{
	refuse("0.0.0.0/32", "unspecified"), // Linux connects it to loopback
	refuse("0.0.0.0/8", reserved),       // "this network"
	refuse("127.0.0.0/8", loopback),
	refuse("169.254.0.0/16", linkLocal),    // it has the metadata service of most clouds
	refuse("192.0.0.0/24", reserved),       // protocol assignments; 192.0.0.192 is Oracle Cloud's metadata service
	refuse("192.88.99.0/24", reserved),     // relays of 6to4, deprecated
	refuse("168.63.129.16/32", reserved),   // Azure's host
	refuse("100.100.100.200/32", reserved), // Alibaba Cloud's metadata service
	refuse("224.0.0.0/24", linkLocal),
	refuse("224.0.0.0/4", multicast),
	refuse("240.0.0.0/4", reserved), // it has the broadcast address
	refuse("::/128", "unspecified"),
	refuse("::1/128", loopback),
	refuse("2001::/32", reserved),     // Teredo, which tunnels to an IPv4 address that is written in it
	refuse("fd00:ec2::/32", reserved), // Amazon's metadata service and name server over IPv6
	refuse("fd20:ce::/32", reserved),  // Google Cloud's metadata service over IPv6
	refuse("fe80::/10", linkLocal),
	refuse("fec0::/10", reserved), // site-local, deprecated
	refuse("ff01::/16", linkLocal),
	refuse("ff02::/16", linkLocal),
	refuse("ff00::/8", multicast),
}

// private are the networks that RefusePrivate adds.
var private = []Rule{
	refuse("10.0.0.0/8", ofUsers),
	refuse("172.16.0.0/12", ofUsers),
	refuse("192.168.0.0/16", ofUsers),
	refuse("100.64.0.0/10", ofUsers),
	refuse("198.18.0.0/15", ofUsers),
	refuse("fc00::/7", ofUsers),
}

func refuse(network, kind string) Rule {
	return Rule{Network: netip.MustParsePrefix(network), Refused: kind}
}

// A carrier is an IPv6 network whose addresses carry an IPv4 address.
type carrier struct {
	network netip.Prefix
	first   int // index of the IPv4 address's first byte
}

// carriers has no network that contains another one.
// Source: RFC 6052, RFC 8215, RFC 7915, RFC 4291 section 2.5.5, RFC 3056
var carriers = []carrier{
	{netip.MustParsePrefix("64:ff9b::/96"), 12},
	{netip.MustParsePrefix("64:ff9b:1::/48"), 12},
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12},
	{netip.MustParsePrefix("::/96"), 12},
	{netip.MustParsePrefix("2002::/16"), 2},
}

// Carriers returns the IPv6 networks whose addresses carry an IPv4 address. A packet filter must
// refuse them, or decide on the IPv4 address as Check does.
func Carriers() []netip.Prefix {
	all := []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("::ffff:0.0.0.0"), 96)}
	for _, c := range carriers {
		all = append(all, c.network)
	}
	return all
}

// embedded returns the IPv4 address that an IPv6 address carries, else the address itself.
func embedded(a netip.Addr) netip.Addr {
	if a.Is4() || a.Is4In6() {
		return a.Unmap()
	}
	if a == netip.IPv6Loopback() || a == netip.IPv6Unspecified() {
		return a
	}
	b := a.As16()
	for _, c := range carriers {
		if c.network.Contains(a) {
			return netip.AddrFrom4([4]byte(b[c.first : c.first+4]))
		}
	}
	return a
}
