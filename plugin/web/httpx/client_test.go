package httpx

import (
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/gin-gonic/gin"
)

// A7.2: all addresses of an IPv6 /64 are one client.
func TestA72ClientAddress(t *testing.T) {
	for from, want := range map[string]string{
		"192.0.2.1":                "192.0.2.1",
		"::ffff:192.0.2.1":         "192.0.2.1",
		"2001:db8:1:2::1":          "2001:db8:1:2::",
		"2001:db8:1:2:ffff:1:2:3":  "2001:db8:1:2::",
		"2001:db8:1:3::1":          "2001:db8:1:3::",
		"fe80::1%eth0":             "fe80::",
		"::1":                      "::",
		"64:ff9b::192.0.2.1":       "64:ff9b::",
		"2001:db8:1:2:3:4:5:6%any": "2001:db8:1:2::",
	} {
		if got := ClientAddress(netip.MustParseAddr(from)).String(); got != want {
			t.Errorf("%s: got %s, want %s", from, got, want)
		}
	}
	if got := ClientAddress(netip.Addr{}); got.IsValid() {
		t.Errorf("no address: got %s, want none", got)
	}
}

func TestClientOfARequest(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:9": "192.0.2.1", "[2001:db8:1:2::7]:9": "2001:db8:1:2::", "@": "",
	} {
		c, _ := gin.CreateTestContext(httptest.NewRecorder())
		c.Request = httptest.NewRequest("GET", "/", nil)
		c.Request.RemoteAddr = remote
		if got := Client(c); got != want {
			t.Errorf("%s: got %q, want %q", remote, got, want)
		}
	}
}
