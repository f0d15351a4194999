package web_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/bitbucket/webhook"
	"slipway/plugin/web"
	"slipway/runner/sandbox/netns"
)

// An internet is a network namespace, in which every address of 198.18.0.0/15 and 2001:db8::/32 is local.
type internet struct {
	namespace *os.File
	dials     chan dialCall
}

type dialCall struct {
	from netip.Addr
	to   string
	done chan<- dialResult
}

type dialResult struct {
	conn net.Conn
	err  error
}

func newInternet(t *testing.T) *internet {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: a network namespace needs root, which this process is not (run it with sudo)")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("SKIPPED: a network namespace needs ip, which is absent (Debian: apt-get install iproute2)")
	}
	namespace, err := netns.New(func() error {
		for _, args := range []string{
			"link set lo up",
			"route add local 198.18.0.0/15 dev lo",
			"-6 route add local 2001:db8::/32 dev lo",
		} {
			if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
				return fmt.Errorf("ip %s: %w: %s", args, err, out)
			}
		}
		return nil
	})
	must.Succeed(t, err)
	i := &internet{namespace: namespace, dials: make(chan dialCall)}
	var dialers sync.WaitGroup
	for range 4 { // each has a thread in the namespace
		dialers.Go(func() { _ = netns.Do(namespace, i.serveDials) }) // serveDials returns nil
	}
	t.Cleanup(func() {
		close(i.dials)
		dialers.Wait()
		namespace.Close()
	})
	return i
}

func (i *internet) serveDials() error {
	for call := range i.dials {
		d := net.Dialer{
			LocalAddr: &net.TCPAddr{IP: call.from.AsSlice()}, Timeout: 10 * time.Second, Control: freeBind,
		}
		conn, err := d.Dial("tcp", call.to)
		call.done <- dialResult{conn, err}
	}
	return nil
}

// freeBind allows IPv6 addresses that are local by a route only.
func freeBind(network, _ string, c syscall.RawConn) error {
	if network != "tcp6" {
		return nil
	}
	var set error
	err := c.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
	})
	return errors.Join(err, set)
}

func (i *internet) dial(from netip.Addr, to string) (net.Conn, error) {
	done := make(chan dialResult, 1)
	i.dials <- dialCall{from, to, done}
	r := <-done
	return r.conn, r.err
}

// A site is a gateway's handler that listens in an internet.
type site struct {
	*env
	*internet
	v4, v6 string // addresses
	hook   string // path of a webhook
}

func newSite(t *testing.T, proxies ...string) *site {
	t.Helper()
	e := newEnv(t, func(o *web.Options) { o.Config.TrustedProxies = proxies })
	s := &site{env: e, internet: newInternet(t), hook: "/hooks/bitbucket/" + e.hook(t).ID}
	var l net.Listener
	must.Succeed(t, netns.Do(s.namespace, func() (err error) {
		l, err = net.Listen("tcp", "[::]:0")
		return err
	}))
	port := l.Addr().(*net.TCPAddr).Port
	s.v4, s.v6 = fmt.Sprintf("198.18.0.1:%d", port), fmt.Sprintf("[2001:db8::1]:%d", port)
	server := web.Server(e)
	served := make(chan error, 1)
	go func() { served <- server.Serve(web.Limited(l, proxies)) }()
	t.Cleanup(func() {
		_ = server.Close() // the test is over
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return s
}

// deliver sends n signed webhooks, each on a connection of its own or on the client's. It returns the
// longest time.
func (s *site) deliver(t *testing.T, n int, client *http.Client) (slowest time.Duration) {
	t.Helper()
	for i := range n {
		body := fmt.Appendf(nil, `{"push":%d,"padding":%q}`, i, strings.Repeat("x", 20_000))
		r, err := http.NewRequest(http.MethodPost, "http://"+s.v4+s.hook, bytes.NewReader(body))
		must.Succeed(t, err)
		r.Header.Set("X-Event-Key", "repo:push")
		r.Header.Set(webhook.SignatureHeader, webhook.Sign(body, secret.New("hook-secret")))
		began := time.Now()
		reply, err := client.Do(r)
		if err != nil {
			t.Fatalf("webhook %d of %d: got error %v, want none", i, n, err)
		}
		_, _ = io.Copy(io.Discard, reply.Body)
		reply.Body.Close()
		slowest = max(slowest, time.Since(began))
		if reply.StatusCode != http.StatusAccepted {
			t.Fatalf("webhook %d of %d: got status %d, want 202", i, n, reply.StatusCode)
		}
	}
	return slowest
}

// client returns a client with an address, which keeps its connections or not.
func (s *site) client(from string, keep bool) *http.Client {
	dial := func(context.Context, string, string) (net.Conn, error) {
		return s.dial(netip.MustParseAddr(from), s.v4)
	}
	return &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: !keep},
	}
}

// hold keeps a connection from an address open until ctx ends: after the server has closed it, it connects
// again at the next tick of five seconds.
func (s *site) hold(ctx context.Context, from netip.Addr, to, request string, opened func(error)) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		c, err := s.dial(from, to)
		opened(err)
		if err == nil {
			stop := context.AfterFunc(ctx, func() { c.Close() })
			_, _ = io.WriteString(c, request) // the server may have closed the connection
			_, _ = io.Copy(io.Discard, c)
			stop()
			c.Close()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// A7.2: unknown clients that hold more connections than the gateway accepts do not stop webhooks, whatever they
// send on them. Each of them connects again if the gateway closes its connection.
func TestA72UnknownClientsDoNotStopWebhooks(t *testing.T) {
	var files syscall.Rlimit
	must.Succeed(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	// The unknown clients use the same processors. Bitbucket waits 10 s.
	const many, patience = 6 * 1024, 5 * time.Second
	if files.Cur < 2*many {
		t.Skipf("SKIPPED: the test needs %d open files, which the limit of %d forbids (run: ulimit -n %d)",
			2*many, files.Cur, 2*many)
	}
	six := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 18, 1, byte(i % 6)}) }
	post := func(length, sent int) string {
		return fmt.Sprintf("POST /hooks/bitbucket/x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s",
			length, strings.Repeat("x", sent))
	}
	for name, attack := range map[string]struct {
		n       int
		from    func(i int) netip.Addr
		v6      bool
		request string
	}{
		"six addresses": {n: many, from: six},
		"one IPv6 network": {n: many, v6: true, from: func(i int) netip.Addr {
			return netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, 0, 0, 0, 1, 14: byte(i >> 8), 15: byte(i)})
		}},
		"many IPv6 networks": {n: many, v6: true, from: func(i int) netip.Addr {
			return netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, 0, 1, byte(i >> 8), byte(i), 15: 1})
		}},
		"slow headers": {n: many, from: six, request: "POST /hooks/bitbucket/x HTTP/1.1\r\nHost: x\r\nX-"},
		"slow bodies":  {n: many, from: six, request: post(1000, 10)},
		"large bodies": {n: 200, from: six, request: post(300_000, 260_000)},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			fresh, kept := s.client("198.18.200.1", false), s.client("198.18.200.2", true)
			s.deliver(t, 1, kept)
			ctx, stop := context.WithCancel(t.Context())
			var clients sync.WaitGroup
			t.Cleanup(func() {
				stop()
				clients.Wait()
			})
			var opened atomic.Int32
			to := s.v4
			if attack.v6 {
				to = s.v6
			}
			for i := range attack.n {
				clients.Go(func() {
					s.hold(ctx, attack.from(i), to, attack.request, func(err error) {
						if err != nil {
							t.Errorf("connect from %s: %v", attack.from(i), err)
						}
						opened.Add(1)
					})
				})
			}
			awaitCount(t, &opened, int32(attack.n))
			slowest := max(s.deliver(t, 30, fresh), s.deliver(t, 30, kept))
			t.Logf("%d connections of unknown clients, slowest webhook %s", opened.Load(), slowest)
			if slowest > patience {
				t.Errorf("slowest webhook: got %s, want at most %s", slowest, patience)
			}
		})
	}
}

// A7.2: all connections through a trusted proxy come from its address, so that they have no limit of their
// own, and the unknown clients' connections lose their places first.
func TestA72AProxyHasNoShare(t *testing.T) {
	s := newSite(t, "198.18.9.0/24")
	proxy := netip.MustParseAddr("198.18.9.9")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	const connections = 1500 // more than the share of one address
	request := "GET /healthz HTTP/1.1\r\nHost: x\r\nX-"
	var open []net.Conn
	for range connections {
		c, err := s.dial(proxy, s.v4)
		must.Succeed(t, err)
		stop := context.AfterFunc(ctx, func() { c.Close() })
		defer stop()
		_, err = io.WriteString(c, request)
		must.Succeed(t, err)
		open = append(open, c)
	}
	for i, c := range open {
		_, err := io.WriteString(c, "A: b\r\n\r\n")
		must.Succeed(t, err)
		must.Succeed(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
		start := make([]byte, len("HTTP/1.1 200"))
		if _, err := io.ReadFull(c, start); err != nil || string(start) != "HTTP/1.1 200" {
			t.Fatalf("connection %d of the proxy: got %q, error %v, want HTTP/1.1 200", i, start, err)
		}
	}
}

// awaitCount waits until a counter has a value.
func awaitCount(t *testing.T, counter *atomic.Int32, want int32) {
	t.Helper()
	deadline, tick := time.After(30*time.Second), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for counter.Load() < want {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("connections: got %d, want %d", counter.Load(), want)
		}
	}
}
