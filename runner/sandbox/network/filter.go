package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"slipway/config/netpolicy"
)

// A Filter decides which addresses the namespaces of a router reach: the addresses that the policy
// allows, except the host's. Names in Policy.Allow have no effect, because packets have no names.
type Filter struct {
	Policy netpolicy.Policy
	off    bool // refuse nothing, for counter-tests
}

// family is an IP version.
type family int

const (
	ipv4 family = 4
	ipv6 family = 6
)

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return ipv4
	}
	return ipv6
}

// Names of the interfaces in a router, and of its filter's chain for the host's addresses.
const (
	bridgeName = "br0"
	uplinkName = "up0"
	hostChain  = "HOST"
)

// maxConnections is the number of connections that a router tracks at once. Each is an entry in the
// host's table of connections, too. If that table is full, the host itself cannot connect any more.
const maxConnections = 8192

// nat64 is the well-known prefix of NAT64. On a host without IPv4, all IPv4 services of the internet
// have such addresses. So the filter checks the embedded IPv4 address, and does not refuse the whole
// prefix.
// Source: RFC 6052 section 2.1
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// routerRules returns the rules of a router for iptables-restore or ip6tables-restore. own are the
// networks of the uplink, and host are the host's addresses. The rules refuse both.
func (f Filter) routerRules(version family, gateway netip.Addr, own []netip.Prefix, host []netip.Addr) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("*filter")
	line(":INPUT DROP [0:0]")
	line(":FORWARD DROP [0:0]")
	line(":OUTPUT ACCEPT [0:0]")
	line(":%s - [0:0]", hostChain)
	line("-A INPUT -i lo -j ACCEPT")
	line("-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")
	if version == ipv6 {
		line("-A INPUT -p icmpv6 -j ACCEPT") // neighbors find the router by it
	}
	for _, protocol := range []string{"udp", "tcp"} {
		line("-A INPUT -i %s -d %s -p %s --dport %d -j ACCEPT", bridgeName, gateway, protocol, dnsPort)
	}
	if f.off {
		line("-A INPUT -j ACCEPT")
	}
	line("-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")
	// With br_netfilter the kernel filters bridged packets, too.
	line("-A FORWARD -i %s -o %s -j ACCEPT", bridgeName, bridgeName)
	line("-A FORWARD -m connlimit --connlimit-above %d --connlimit-mask 0 -j DROP", maxConnections)
	line("-A FORWARD -i %s -j %s", bridgeName, hostChain)
	b.WriteString(f.hostAddresses(version, host))
	if !f.off {
		for _, network := range own {
			if familyOf(network.Addr()) == version {
				line("-A FORWARD -d %s %s", network, reject(version))
			}
		}
		for _, rule := range f.rules(version) {
			if rule.Refused == "" {
				line("-A FORWARD -i %s -o %s -d %s%s -j ACCEPT", bridgeName, uplinkName, rule.Network, portOf(rule))
				continue
			}
			line("-A FORWARD -d %s %s", rule.Network, reject(version))
		}
	}
	line("-A FORWARD -i %s -o %s -j ACCEPT", bridgeName, uplinkName)
	line("COMMIT")
	line("*nat")
	line("-A POSTROUTING -o %s -j MASQUERADE", uplinkName)
	line("COMMIT")
	return b.String()
}

// hostRules returns the new rules of the chain HOST, for iptables-restore --noflush.
func (f Filter) hostRules(version family, host []netip.Addr) string {
	return fmt.Sprintf("*filter\n:%s - [0:0]\n%sCOMMIT\n", hostChain, f.hostAddresses(version, host))
}

func (f Filter) hostAddresses(version family, host []netip.Addr) string {
	var b strings.Builder
	for _, address := range host {
		if familyOf(address) == version && !f.off {
			fmt.Fprintf(&b, "-A %s -d %s %s\n", hostChain, address, reject(version))
		}
	}
	return b.String()
}

// rules returns the policy's rules for one IP version. The first one that contains an address decides.
func (f Filter) rules(version family) []netpolicy.Rule {
	var rules []netpolicy.Rule
	for _, rule := range f.Policy.Rules() {
		is := familyOf(rule.Network.Addr())
		if is == version {
			rules = append(rules, rule)
		} else if version == ipv6 {
			rule.Network = inNAT64(rule.Network)
			rules = append(rules, rule)
		}
	}
	if version == ipv6 {
		for _, carrier := range netpolicy.Carriers() {
			if carrier != nat64 {
				rules = append(rules, netpolicy.Rule{Network: carrier, Refused: "an IPv4 address in an IPv6 address"})
			}
		}
	}
	slices.SortStableFunc(rules, func(a, b netpolicy.Rule) int { return b.Network.Bits() - a.Network.Bits() })
	return rules
}

// portOf returns the words of a rule for a TCP port, with a blank before; "" = all packets.
func portOf(rule netpolicy.Rule) string {
	if rule.Port == 0 {
		return ""
	}
	return fmt.Sprintf(" -p tcp --dport %d", rule.Port)
}

// inNAT64 returns the network of the NAT64 addresses for an IPv4 network.
func inNAT64(network netip.Prefix) netip.Prefix {
	bytes, four := nat64.Addr().As16(), network.Addr().As4()
	copy(bytes[12:], four[:])
	return netip.PrefixFrom(netip.AddrFrom16(bytes), nat64.Bits()+network.Bits())
}

func reject(version family) string {
	if version == ipv4 {
		return "-j REJECT --reject-with icmp-admin-prohibited"
	}
	return "-j REJECT --reject-with icmp6-adm-prohibited"
}

// listed returns the host's addresses that the filter must list, sorted. It omits addresses that another
// rule refuses at every port.
func (f Filter) listed(host []netip.Addr) []netip.Addr {
	var listed []netip.Addr
	for _, address := range host {
		address = address.WithZone("").Unmap()
		if f.refusal(address) == "" {
			listed = append(listed, address)
		}
	}
	slices.SortFunc(listed, netip.Addr.Compare)
	return slices.Compact(listed)
}

// refusal returns the reason why a rule refuses the address at every port, or "". It does not consider the
// host's addresses.
func (f Filter) refusal(address netip.Addr) string {
	for _, rule := range f.rules(familyOf(address)) {
		if rule.Network.Contains(address) { // a rule for a port allows it there
			return rule.Refused
		}
	}
	return ""
}
