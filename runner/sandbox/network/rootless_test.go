package network

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
)

// rootless returns the order for a router of an ordinary user.
func (w world) rootless(t testing.TB) order {
	t.Helper()
	requirePrograms(t, map[string]string{"slirp4netns": "slirp4netns"})
	if _, err := os.Stat(tunDevice); err != nil {
		t.Skip("SKIPPED: the device /dev/net/tun, which is absent: slirp4netns needs it")
	}
	for dir := w.resolvConf; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		must.Succeed(t, os.Chmod(dir, 0o755)) // the user reads it
	}
	return order{
		Slirp:         must.Get[string](t)(exec.LookPath("slirp4netns")),
		RefusePrivate: true,
		ResolvConf:    w.resolvConf,
	}
}

// rootlessAttacks are the addresses that code of a repository must not reach without root. The host's
// loopback and published ports are among them: slirp4netns connects as a program of the host.
func rootlessAttacks() []attack {
	var attacks []attack
	for _, address := range metadata {
		attacks = append(attacks, attack{net.JoinHostPort(address, "80"), "internet"})
	}
	for _, address := range []string{host4, host6, bridged} {
		attacks = append(attacks, attack{net.JoinHostPort(address, "8080"), "host"})
	}
	return append(attacks, attack{"172.29.0.2:80", "container"})
}

func addressesOfAttacks(attacks []attack) (all []string) {
	for _, attack := range attacks {
		all = append(all, attack.address)
	}
	return all
}

func TestWithoutRootABuildDoesNotReachRefusedAddresses(t *testing.T) {
	w := newWorld(t)
	o := w.rootless(t)
	o.Dial = append(addressesOfAttacks(rootlessAttacks()),
		slirpHost(2)+":8080", slirpHost(2)+":5000", slirpHost(3)+":53", "[fd00::2]:8080", "[fd00::3]:8080",
		gateway(ipv4).String()+":8080", "127.0.0.1:8080")
	for address, word := range startOwner(t, o).report(t).Words {
		if word != "" {
			t.Errorf("%s: got %q, want no connection", address, word)
		}
	}
}

// slirpHost returns an address of slirp4netns itself. Number 2 is the host's loopback, unless it is off.
func slirpHost(n int) string { return addressAt(slirpNetwork4, n).String() }

func TestWithoutRootAndFilterTheRefusedAddressesAnswer(t *testing.T) {
	w := newWorld(t)
	o := w.rootless(t)
	o.Off = true
	want := map[string]string{}
	for _, attack := range rootlessAttacks() {
		want[attack.address] = attack.word
		o.Dial = append(o.Dial, attack.address)
	}
	if diff := cmp.Diff(want, startOwner(t, o).report(t).Words); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

func TestWithoutRootABuildReachesTheInternet(t *testing.T) {
	w := newWorld(t)
	o := w.rootless(t)
	o.Resolve = []string{"public.test.", "evil.test.", "hook."}
	want := map[string]string{}
	for _, address := range []string{public4, public6, publicNAT64} {
		o.Dial = append(o.Dial, net.JoinHostPort(address, "80"))
		want[net.JoinHostPort(address, "80")] = "internet"
	}
	got := startOwner(t, o).report(t)
	if diff := cmp.Diff(want, got.Words); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	names := map[string][]string{
		"public.test.": {public4},
		"evil.test.":   {"169.254.169.254"},
		"hook.":        {bridgeAddress(bridgeNetwork4, gatewayNumber+1).Addr().String()},
	}
	if diff := cmp.Diff(names, got.Addresses); diff != "" {
		t.Errorf("addresses of names (-want +got):\n%s", diff)
	}
}

// The filter follows the host's addresses. The host itself accepts all connections here, so the router's
// list is alone at work; without the filter they come to be.
func TestNewAddressesOfTheHostAreRefused(t *testing.T) {
	w := newWorld(t)
	withoutRoot := w.rootless(t)
	withoutRoot.RefusePrivate = false
	for _, test := range []struct {
		name  string
		order order
		word  string
	}{
		{"as root", order{}, ""},
		{"as root, no filter", order{Off: true}, "host"},
		{"without root", withoutRoot, ""},
		{"without root, no filter", order{Slirp: withoutRoot.Slirp, Off: true}, "host"},
	} {
		t.Run(test.name, func(t *testing.T) {
			const late4, late6 = "203.0.113.77", "2001:db8:f::77"
			test.order.ResolvConf = w.resolvConf
			test.order.Dial = []string{late4 + ":8080", "[" + late6 + "]:8080"}
			owner := startOwner(t, test.order)
			owner.report(t)
			for _, version := range []family{ipv4, ipv6} {
				must.Succeed(t, restore(t.Context(), version, "*filter\n-I INPUT -j ACCEPT\nCOMMIT\n", "--noflush"))
			}
			ip(t, "addr add "+late4+"/32 dev lo", "addr add "+late6+"/128 dev lo")
			defer ip(t, "addr del "+late4+"/32 dev lo", "addr del "+late6+"/128 dev lo")
			want := map[string]string{late4 + ":8080": test.word, "[" + late6 + "]:8080": test.word}
			eventually(t, "the filter follows", func() bool { return cmp.Equal(want, owner.again(t).Words) })
		})
	}
}
