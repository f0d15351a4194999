package loopback_test

import (
	"net"
	"net/netip"
	"testing"

	"slipway/config/loopback"
	"slipway/config/must"
)

func TestFreeAddress(t *testing.T) {
	address := must.Get[string](t)(loopback.FreeAddress(t.Context()))
	parsed := must.Get[netip.AddrPort](t)(netip.ParseAddrPort(address))
	if !parsed.Addr().IsLoopback() || parsed.Port() < 20_000 || parsed.Port() >= 32_000 {
		t.Errorf("address: got %s, want one of 127.0.0.1 with a port from 20000 to 31999", address)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	must.Succeed(t, err) // the address is free
	must.Succeed(t, l.Close())
}
