package netpolicy_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/config/netpolicy"
)

// printProxies makes the test binary print the addresses of its proxies: net/http reads the environment once.
const printProxies = "SLIPWAY_TEST_PRINT_PROXIES"

func TestProxyAddresses(t *testing.T) {
	if os.Getenv(printProxies) != "" {
		os.Stdout.WriteString("<" + strings.Join(netpolicy.ProxyAddresses(), " ") + ">")
		return
	}
	for text, want := range map[string]string{
		"":                                "",
		"http://127.0.0.1:3128":           "127.0.0.1:3128",
		"https://u:p@proxy.example.com/":  "proxy.example.com:443",
		"socks5://[::1]":                  "[::1]:1080",
		"proxy.example.com:3128":          "proxy.example.com:3128",
		"http://proxy.example.com:bad/%%": "",
	} {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestProxyAddresses$")
		cmd.Env = []string{printProxies + "=1", "HTTPS_PROXY=" + text, "NO_PROXY=localhost"}
		out := must.Get[[]byte](t)(cmd.Output())
		_, after, _ := strings.Cut(string(out), "<")
		got, _, _ := strings.Cut(after, ">")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

// A proxy connects on its own, so the host of the URL is checked before it is asked.
func TestTransportChecksTheHostBehindAProxy(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("proxy: " + r.URL.Host))
	}))
	defer proxy.Close()
	address := must.Get[*url.URL](t)(url.Parse(proxy.URL))
	p := must.Get[netpolicy.Policy](t)(netpolicy.Parse("refuse", []string{"10.1.2.3:80"}))
	p.Allow = []string{address.Host, "127.0.0.1:81"}
	client := http.Client{Transport: p.Transport(&http.Transport{Proxy: http.ProxyURL(address)})}
	for target, allowed := range map[string]bool{
		"http://203.0.113.7/":       true,
		"http://absent.invalid/":    true, // perhaps the proxy can resolve it
		"http://10.1.2.3/":          true,
		"http://127.0.0.1:81/":      true,
		"http://10.1.2.3:81/":       false,
		"http://127.0.0.1/":         false,
		"http://localhost:82/":      false,
		"http://[::ffff:10.1.2.4]/": false,
		"http://169.254.169.254/":   false,
	} {
		response, err := client.Get(target)
		if err == nil {
			response.Body.Close()
		}
		if allowed && err != nil {
			t.Errorf("%s: got %v, want a response", target, err)
		}
		if !allowed && !errors.Is(err, netpolicy.ErrRefused) {
			t.Errorf("%s: got %v, want ErrRefused", target, err)
		}
	}
}

func TestTransportChecksAddresses(t *testing.T) {
	service := httptest.NewServer(http.NotFoundHandler())
	defer service.Close()
	address := must.Get[*url.URL](t)(url.Parse(service.URL)).Host
	for _, test := range []struct {
		policy  netpolicy.Policy
		allowed bool
	}{
		{netpolicy.Policy{}, false},
		{netpolicy.Policy{Allow: []string{address}}, true},
	} {
		client := http.Client{Transport: test.policy.Transport(&http.Transport{})}
		response, err := client.Get(service.URL)
		if err == nil {
			response.Body.Close()
		}
		if got := !errors.Is(err, netpolicy.ErrRefused); got != test.allowed {
			t.Errorf("%+v: got %v, want allowed %t", test.policy, err, test.allowed)
		}
	}
}
