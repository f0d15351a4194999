package network

import (
	"slices"
	"strings"
)

// HostPrefix begins the names of our interfaces on the host: the uplinks of routers. No other program
// and no other part of Slipway uses it.
const HostPrefix = "slwn"

// Slipway's chains in the host's tables.
const (
	inputChain   = "SLIPWAY-NET-INPUT"
	forwardChain = "SLIPWAY-NET-FORWARD"
	natChain     = "SLIPWAY-NET-NAT"
)

// A jump is a rule of one of the host's chains that leads to one of our chains.
type jump struct{ table, chain, rule string }

// jumps returns the rules that lead to our chains. They are inserted at the top, before the rules of
// Docker and of firewalls. They match only our uplinks, so they have no effect without one.
func jumps() []jump {
	return []jump{
		{"filter", "INPUT", "-i " + HostPrefix + "+ -j " + inputChain},
		{"filter", "FORWARD", "-i " + HostPrefix + "+ -j " + forwardChain},
		{"filter", "FORWARD", "-o " + HostPrefix + "+ -j " + forwardChain},
		{"nat", "POSTROUTING", "-j " + natChain},
	}
}

// hostTables returns the rules of our chains on the host by table. They apply to all current and later
// addresses of the host.
//
//   - No packet from a router enters the host, except neighbor discovery, which IPv6 needs.
//   - No router reaches another router.
//   - No packet leaves if the host replaces its target. A published port of Docker is a service of the host,
//     although its packets are forwarded.
//   - No connection to a router is accepted. Replies to its own connections return.
func hostTables(version family) map[string][]string {
	from, to := "-i "+HostPrefix+"+", "-o "+HostPrefix+"+"
	uplinks := uplinkNetwork4
	var input []string
	if version == ipv6 {
		uplinks = uplinkNetwork6
		for _, kind := range []string{"135", "136"} { // solicitation and advertisement
			input = append(input, "-A "+inputChain+" -p ipv6-icmp -m icmp6 --icmpv6-type "+kind+" -j ACCEPT")
		}
	}
	return map[string][]string{
		"filter": append(input,
			"-A "+inputChain+" -j DROP",
			"-A "+forwardChain+" "+from+" "+to+" -j DROP",
			"-A "+forwardChain+" -m conntrack --ctstate DNAT -j DROP",
			"-A "+forwardChain+" "+from+" -j ACCEPT",
			"-A "+forwardChain+" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
			"-A "+forwardChain+" -j DROP",
		),
		"nat": {"-A " + natChain + " -s " + uplinks.String() + " ! " + to + " -j MASQUERADE"},
	}
}

// missingHostRules returns the input of iptables-restore --noflush that completes the host's rules, or
// "" if they are complete. saved is the output of iptables-save.
func missingHostRules(version family, saved string) string {
	have := ParseTables(saved)
	missing := map[string][]string{}
	for table, wanted := range hostTables(version) {
		if !have.hasChains(table, wanted) {
			for _, chain := range chainsOf(wanted) {
				missing[table] = append(missing[table], ":"+chain+" - [0:0]") // makes the chain, or removes its rules
			}
			missing[table] = append(missing[table], wanted...)
		}
	}
	for _, j := range jumps() {
		if !have.Has(j.table, "-A "+j.chain+" "+j.rule) {
			missing[j.table] = append(missing[j.table], "-I "+j.chain+" 1 "+j.rule)
		}
	}
	return restoreInput(missing)
}

// chainsOf returns the names of the chains to which the rules belong.
func chainsOf(rules []string) []string {
	var chains []string
	for _, rule := range rules {
		chains = append(chains, strings.Fields(rule)[1])
	}
	return slices.Compact(chains)
}

// hasChains reports whether the chains of the wanted rules have exactly these rules.
func (t Tables) hasChains(table string, wanted []string) bool {
	for _, chain := range chainsOf(wanted) {
		if !slices.Equal(rulesOf(t[table], chain), rulesOf(wanted, chain)) {
			return false
		}
	}
	return true
}

func rulesOf(rules []string, chain string) []string {
	var found []string
	for _, rule := range rules {
		if strings.HasPrefix(rule, "-A "+chain+" ") {
			found = append(found, rule)
		}
	}
	return found
}
