package crashtest

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/webhook"
	"slipway/plugin/demo/demotest"
)

// F22: clients that vanish, or stop in the middle of a signed delivery, leave no row and cause no build. The push
// beside them is built. Their connections stay open meanwhile.
func TestF22BrokenDeliveriesCauseNoBuild(t *testing.T) {
	t.Parallel()
	const each = 20
	env := demotest.StartSignedIn(t, onSQLite(t))
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	hook, err := url.Parse(hookURL(p))
	env.Must(err)
	body := `{"push":{"changes":[]}}` + strings.Repeat(" ", 4<<10)
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nX-Event-Key: repo:push\r\nContent-Length: %d\r\n%s: %s\r\n\r\n",
		hook.Path, len(body), webhook.SignatureHeader, webhook.Sign([]byte(body), hookSecret(env)))
	for _, broken := range []struct {
		name, sent string
		end        func(*net.TCPConn) error
	}{
		{"half a header", head[:len(head)/2], nil},
		{"no body", head, nil},
		{"half a body", head + body[:len(body)/2], nil},
		{"end of half a body", head + body[:len(body)/2], (*net.TCPConn).CloseWrite},
		{"reset", head + body[:len(body)/2], func(c *net.TCPConn) error { return c.SetLinger(0) }},
	} {
		for range each {
			c, err := new(net.Dialer).DialContext(env.Context, "tcp", hook.Host)
			env.Must(err)
			t.Cleanup(func() { _ = c.Close() })
			if _, err := c.Write([]byte(broken.sent)); err != nil {
				t.Errorf("%s: %v", broken.name, err)
			}
			if broken.end != nil {
				env.Must(broken.end(c.(*net.TCPConn)))
			}
			if broken.name == "reset" {
				env.Must(c.Close())
			}
		}
	}
	commit := p.Commit("whole", env.Dockerfile("whole"))
	p.Push("main")
	checkBuilt(p, 1, commit, "whole")
	s, err := env.Gateway.Store(env.Context)
	env.Must(err)
	defer s.Close()
	rows, err := s.Deliveries(env.Context, autobuild.DeliveryFilter{})
	env.Must(err)
	if len(rows) != 1 {
		t.Errorf("deliveries: got %d rows, want that of the push", len(rows))
	}
}
