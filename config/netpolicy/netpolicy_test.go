package netpolicy_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"slipway/config/netpolicy"
)

func TestO2AddressesThatAreRefused(t *testing.T) {
	for address, kind := range map[string]string{
		"127.0.0.1":              "loopback",
		"127.77.0.1":             "loopback",
		"::1":                    "loopback",
		"::ffff:127.0.0.1":       "loopback",
		"::ffff:7f00:1":          "loopback",
		"64:ff9b::7f00:1":        "loopback",
		"2002:7f00:1::":          "loopback",
		"::127.0.0.1":            "loopback",
		"::ffff:0:127.0.0.1":     "loopback",
		"0.0.0.0":                "unspecified",
		"::":                     "unspecified",
		"0.1.2.3":                "reserved",
		"169.254.169.254":        "link-local",
		"::ffff:169.254.169.254": "link-local",
		"64:ff9b::a9fe:a9fe":     "link-local",
		"64:ff9b:1::a9fe:a9fe":   "link-local",
		"2002:a9fe:a9fe::1":      "link-local",
		"fe80::1":                "link-local",
		"fe80::1%eth0":           "link-local",
		"fd00:ec2::254":          "metadata",
		"fd20:ce::254":           "metadata",
		"168.63.129.16":          "metadata",
		"100.100.100.200":        "metadata",
		"192.0.0.192":            "metadata",
		"224.0.0.1":              "link-local",
		"239.1.2.3":              "multicast",
		"ff02::1":                "link-local",
		"ff0e::1":                "multicast",
		"255.255.255.255":        "reserved",
		"fec0::1":                "reserved",
		"2001::5601:101":         "reserved",
		"192.88.99.1":            "reserved",
	} {
		err := netpolicy.Policy{}.Check(netip.MustParseAddr(address))
		if !errors.Is(err, netpolicy.ErrRefused) {
			t.Errorf("%s: got %v, want ErrRefused", address, err)
			continue
		}
		if !strings.Contains(err.Error(), kind) {
			t.Errorf("%s: got %q, want it called %s", address, err, kind)
		}
	}
	if err := (netpolicy.Policy{}).Check(netip.Addr{}); !errors.Is(err, netpolicy.ErrRefused) {
		t.Errorf("no address: got %v, want ErrRefused", err)
	}
}

func TestO2PrivateNetworksAreRefusedBySetting(t *testing.T) {
	for _, address := range []string{"10.0.0.5", "172.31.255.1", "192.168.1.1", "100.64.0.1", "198.18.0.1", "fd12::1", "::ffff:10.0.0.5"} {
		a := netip.MustParseAddr(address)
		if err := (netpolicy.Policy{RefusePrivate: true}).Check(a); !errors.Is(err, netpolicy.ErrRefused) {
			t.Errorf("%s with RefusePrivate: got %v, want ErrRefused", address, err)
		}
	}
	for _, address := range []string{"203.0.113.7", "2001:db8::7", "172.32.0.1", "100.128.0.1", "1.1.1.1"} {
		if err := (netpolicy.Policy{RefusePrivate: true}).Check(netip.MustParseAddr(address)); err != nil {
			t.Errorf("%s: got %v, want it allowed", address, err)
		}
	}
	if err := (netpolicy.Policy{}).Check(netip.MustParseAddr("10.255.255.254")); err != nil {
		t.Errorf("a private address without the setting: got %v, want it allowed", err)
	}
}

// The addresses of the interfaces are those of services that listen everywhere.
func TestO2TheMachinesOwnAddressesAreRefused(t *testing.T) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, own := range addresses {
		prefix, err := netip.ParsePrefix(own.String())
		if err != nil {
			continue
		}
		checked++
		if err := (netpolicy.Policy{}).Check(prefix.Addr()); !errors.Is(err, netpolicy.ErrRefused) {
			t.Errorf("%s: got %v, want ErrRefused", prefix.Addr(), err)
		}
	}
	if checked == 0 {
		t.Error("checked addresses: got none, want some")
	}
}

func TestDialContextChecksTheResolvedAddress(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "localhost", "0.0.0.0"} {
		conn, err := netpolicy.Policy{}.DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err == nil {
			conn.Close()
		}
		if !errors.Is(err, netpolicy.ErrRefused) {
			t.Errorf("%s: got %v, want ErrRefused", host, err)
		}
	}
}

func TestDialContextAllowsTheConfiguredAddresses(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p := netpolicy.Policy{Allow: []string{"LOCALHOST:" + port}}
	conn, err := p.DialContext(t.Context(), "tcp4", "localhost:"+port)
	if err != nil {
		t.Fatalf("the named host: got %v, want a connection", err)
	}
	conn.Close()
	if conn, err := p.DialContext(t.Context(), "tcp", "127.0.0.1:"+port); !errors.Is(err, netpolicy.ErrRefused) {
		if err == nil {
			conn.Close()
		}
		t.Errorf("the same address under another name: got %v, want ErrRefused", err)
	}
}

func TestDialContextEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (netpolicy.Policy{}).DialContext(ctx, "tcp", "203.0.113.7:443"); !errors.Is(err, context.Canceled) {
		t.Errorf("DialContext: got error %v, want %v", err, context.Canceled)
	}
}

// A small refused network inside a large allowed one stays refused.
func TestAllowedNetworks(t *testing.T) {
	allow := func(networks ...string) (p netpolicy.Policy) {
		p.RefusePrivate = true
		for _, network := range networks {
			p.Exceptions = append(p.Exceptions, netpolicy.Exception{Network: netip.MustParsePrefix(network)})
		}
		return p
	}
	for _, test := range []struct {
		policy  netpolicy.Policy
		address string
		refused bool
	}{
		{allow("10.0.0.0/8"), "10.1.2.3", false},
		{allow("10.0.0.0/8"), "::ffff:10.1.2.3", false},
		{allow("10.0.0.0/8"), "172.16.0.1", true},
		{allow("100.64.0.0/10"), "100.64.0.1", false},
		{allow("100.64.0.0/10"), "100.100.100.200", true},
		{allow("100.100.100.200/32"), "100.100.100.200", false},
		{allow("169.254.169.254/32"), "169.254.169.254", false},
		{allow("169.254.169.254/32"), "169.254.169.253", true},
		{allow("0.0.0.0/0", "::/0"), "127.0.0.1", true},
		{allow("0.0.0.0/0", "::/0"), "fd00:ec2::254", true},
		{allow("fd00::/8"), "fd12::1", false},
		{allow("fd00::/8"), "fd00:ec2::254", true},
	} {
		err := test.policy.Check(netip.MustParseAddr(test.address))
		if got := errors.Is(err, netpolicy.ErrRefused); got != test.refused {
			t.Errorf("%s with %v: got refused %t, want %t", test.address, test.policy.Exceptions, got, test.refused)
		}
	}
}
