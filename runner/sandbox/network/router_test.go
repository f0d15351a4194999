package network

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"slipway/config/must"
)

// attacks are addresses that code of a repository must not reach, with the word that each sends.
type attack struct{ address, word string }

// attacksOn returns the attacks on the world and on another router.
func attacksOn(t testing.TB, w world, other *Router) []attack {
	t.Helper()
	var attacks []attack
	for _, address := range metadata {
		attacks = append(attacks, attack{net.JoinHostPort(address, "80"), "internet"})
	}
	hosts := []string{host4, host6, bridged, gateway(ipv4).String(), gateway(ipv6).String()}
	for _, address := range hosts[:3] {
		attacks = append(attacks, attack{net.JoinHostPort(address, "8080"), "host"})
	}
	for _, address := range hosts[:1] {
		attacks = append(attacks, attack{net.JoinHostPort(address, published), "container"})
	}
	for _, address := range hosts[3:] {
		attacks = append(attacks, attack{net.JoinHostPort(address, "8081"), "router"})
	}
	for _, address := range interfaceAddresses(t, other, uplinkName) {
		attacks = append(attacks, attack{net.JoinHostPort(address, "8081"), "router"})
	}
	return append(attacks, attack{"172.29.0.2:80", "container"})
}

// interfaceAddresses returns the addresses of an interface in a router, without link-local ones.
func interfaceAddresses(t testing.TB, r *Router, name string) []string {
	t.Helper()
	var found []string
	inside(t, r.file, func() {
		link, err := net.InterfaceByName(name)
		must.Succeed(t, err)
		for _, address := range must.Get[[]net.Addr](t)(link.Addrs()) {
			if prefix := netip.MustParsePrefix(address.String()); !prefix.Addr().IsLinkLocalUnicast() {
				found = append(found, prefix.Addr().String())
			}
		}
	})
	return found
}

// twoRouters returns two routers with a service that listens on all addresses of each.
func twoRouters(t testing.TB, w world, o Options) (attacker, other *Router) {
	t.Helper()
	attacker, other = newRouter(t, o), newRouter(t, o)
	for _, router := range []*Router{attacker, other} {
		w.answer(t, router.file, ":8081", "router")
	}
	return attacker, other
}

func TestABuildDoesNotReachRefusedAddresses(t *testing.T) {
	w := newWorld(t)
	attacker, other := twoRouters(t, w, w.options())
	hook := join(t, attacker, "hook")
	for address, word := range readAll(hook, addressesOfAttacks(attacksOn(t, w, other))) {
		if word != "" {
			t.Errorf("%s: got %q, want no connection", address, word)
		}
	}
}

// Without the filter and the host's rules the same addresses answer. So the test above shows that the
// filter refuses them, not that they are absent.
func TestWithoutFilterTheRefusedAddressesAnswer(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	o.Filter.off = true
	attacker, other := twoRouters(t, w, o)
	for _, version := range []family{ipv4, ipv6} {
		must.Succeed(
			t,
			restore(t.Context(), version, "*filter\n-I INPUT -j ACCEPT\n-I FORWARD -j ACCEPT\nCOMMIT\n", "--noflush"),
		)
	}
	hook := join(t, attacker, "hook")
	want := map[string]string{}
	attacks := attacksOn(t, w, other)
	for _, attack := range attacks {
		want[attack.address] = attack.word
	}
	if diff := cmp.Diff(want, readAll(hook, addressesOfAttacks(attacks))); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

func TestABuildReachesTheInternetAndItsServices(t *testing.T) {
	w := newWorld(t)
	router := newRouter(t, w.options())
	hook, db := join(t, router, "hook"), join(t, router, "db")
	w.answer(t, db.file, ":5432", "database")
	w.answer(t, hook.file, "127.0.0.1:80", "own loopback")
	for address, want := range map[string]string{
		net.JoinHostPort(public4, "80"):                      "internet",
		net.JoinHostPort(public6, "80"):                      "internet",
		net.JoinHostPort(publicNAT64, "80"):                  "internet",
		net.JoinHostPort(db.Addresses()[0].String(), "5432"): "database",
		net.JoinHostPort(db.Addresses()[1].String(), "5432"): "database",
		"127.0.0.1:80": "own loopback",
	} {
		got, err := read(hook, address)
		if err != nil {
			t.Errorf("%s: got %v, want a connection", address, err)
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", address, got, want)
		}
	}
}

// An exception never opens the host.
func TestTheHostIsNeverAllowed(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	o.Filter.Policy = policyOf(t, "refuse", host4, bridged, bridged+":8080", host4+":"+published)
	hook := join(t, newRouter(t, o), "hook")
	for address, word := range readAll(hook, []string{host4 + ":8080", bridged + ":8080", host4 + ":" + published}) {
		if word != "" {
			t.Errorf("%s: got %q, want no connection", address, word)
		}
	}
}

func TestNoOneConnectsToABuild(t *testing.T) {
	w := newWorld(t)
	router := newRouter(t, w.options())
	hook := join(t, router, "hook")
	w.answer(t, hook.file, ":80", "hook")
	uplink := interfaceAddresses(t, router, uplinkName)[0]
	inside(t, w.internet, func() { ip(t, "route add 198.18.0.0/15 via "+host4) })
	ip(t, "route add 198.18.0.0/16 via "+uplink)
	var err error
	inside(t, w.internet, func() {
		_, err = net.DialTimeout("tcp", net.JoinHostPort(hook.Addresses()[0].String(), "80"), dialTimeout)
	})
	if err == nil {
		t.Error("from the internet: got a connection, want none")
	}
}

func TestNamesAreResolved(t *testing.T) {
	w := newWorld(t)
	router := newRouter(t, w.options())
	hook, db := join(t, router, "hook"), join(t, router, "db")
	for _, test := range []struct {
		name  string
		kind  uint16
		rcode int
		want  []string
	}{
		{"public.test.", dns.TypeA, dns.RcodeSuccess, []string{public4}},
		{"public.test.", dns.TypeAAAA, dns.RcodeSuccess, []string{public6}},
		{"evil.test.", dns.TypeA, dns.RcodeSuccess, []string{"169.254.169.254"}},
		{"absent.test.", dns.TypeA, dns.RcodeNameError, nil},
		{"db.", dns.TypeA, dns.RcodeSuccess, []string{db.Addresses()[0].String()}},
		{"DB.", dns.TypeAAAA, dns.RcodeSuccess, []string{db.Addresses()[1].String()}},
		{"db.", dns.TypeMX, dns.RcodeSuccess, nil},
		{"public.test.", dns.TypeAXFR, dns.RcodeRefused, nil},
	} {
		for _, network := range []string{"udp", "tcp"} {
			what := test.name + " " + dns.TypeToString[test.kind] + " " + network
			answer, err := resolve(hook, network, test.name, test.kind)
			if err != nil {
				t.Errorf("%s: got %v, want an answer", what, err)
				continue
			}
			if answer.Rcode != test.rcode {
				t.Errorf(
					"%s: got code %s, want %s",
					what,
					dns.RcodeToString[answer.Rcode],
					dns.RcodeToString[test.rcode],
				)
			}
			if diff := cmp.Diff(test.want, addressesOf(answer)); diff != "" {
				t.Errorf("%s: got addresses (-want +got):\n%s", what, diff)
			}
		}
	}
}

func addressesOf(answer *dns.Msg) (found []string) {
	for _, record := range answer.Answer {
		switch r := record.(type) {
		case *dns.A:
			found = append(found, r.A.String())
		case *dns.AAAA:
			found = append(found, r.AAAA.String())
		}
	}
	return found
}

func TestRoutersRulesAreOnTheHostOnce(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		newRouter(t, w.options())
	}
	for _, version := range []family{ipv4, ipv6} {
		saved := must.Get[string](t)(save(t.Context(), version))
		if missing := missingHostRules(version, saved); missing != "" {
			t.Errorf("IPv%d: got missing rules %q, want none", version, missing)
		}
		for _, j := range jumps() {
			if got := strings.Count(saved, "-A "+j.chain+" "+j.rule+"\n"); got != 1 {
				t.Errorf("IPv%d: %s %s: got it %d times, want once", version, j.chain, j.rule, got)
			}
		}
	}
}

// A restarted firewall removes the rules of others. The next router sets them again, and until then the
// router's own filter refuses the host's addresses.
func TestAFirewallsRestartDoesNotOpenTheHost(t *testing.T) {
	w := newWorld(t)
	first := newRouter(t, w.options())
	hook := join(t, first, "hook")
	w.setMachineRules(t) // without --noflush: it removes all others
	for _, version := range []family{ipv4, ipv6} {
		must.Succeed(t, restore(t.Context(), version, "*filter\n-I FORWARD -j ACCEPT\nCOMMIT\n", "--noflush"))
	}
	for address, word := range readAll(hook, []string{host4 + ":8080", "[" + host6 + "]:8080", bridged + ":8080"}) {
		if word != "" {
			t.Errorf("%s: got %q, want no connection", address, word)
		}
	}
	newRouter(t, w.options())
	saved := must.Get[string](t)(save(t.Context(), ipv4))
	if missing := missingHostRules(ipv4, saved); missing != "" {
		t.Errorf("after the next router: got missing rules %q, want none", missing)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	w := newWorld(t)
	before := uplinksOf(t)
	router := must.Get[*Router](t)(NewRouter(t.Context(), w.options()))
	hook := must.Get[*Namespace](t)(router.Join(t.Context(), "hook"))
	must.Get[net.Listener](t)(hook.Listen(t.Context(), "tcp", "127.0.0.1:443"))
	if got := uplinksOf(t); len(got) != len(before)+1 {
		t.Fatalf("got uplinks %v, want one more than %v", got, before)
	}
	must.Succeed(t, router.Close())
	if diff := cmp.Diff(before, uplinksOf(t)); diff != "" {
		t.Errorf("got uplinks (-want +got):\n%s", diff)
	}
	if _, err := router.Join(t.Context(), "late"); err == nil {
		t.Error("Join after Close: got a namespace, want an error")
	}
	if _, err := hook.Listen(t.Context(), "tcp", "127.0.0.1:444"); err == nil {
		t.Error("Listen after Close: got a listener, want an error")
	}
}

// uplinksOf returns the names of our interfaces on the host.
func uplinksOf(t testing.TB) (names []string) {
	t.Helper()
	for _, i := range must.Get[[]net.Interface](t)(net.Interfaces()) {
		if strings.HasPrefix(i.Name, HostPrefix) {
			names = append(names, i.Name)
		}
	}
	return names
}
