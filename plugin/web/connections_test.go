package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/web/httpx"
)

// I8: one address cannot use all connections, except a proxy's. Closed connections free their place.
func TestI8ConnectionsAreBoundedInAllAndPerAddress(t *testing.T) {
	for name, c := range map[string]struct {
		total, each int
		proxies     []string
		want        int
	}{
		"per address": {total: 10, each: 3, want: 3},
		"of a proxy":  {total: 10, each: 3, proxies: []string{"nonsense", "127.0.0.0/8"}, want: 10},
		"one proxy":   {total: 10, each: 3, proxies: []string{"127.0.0.1"}, want: 10},
	} {
		t.Run(name, func(t *testing.T) {
			l := Limited(listen(t), c.proxies).(*limitedListener)
			l.table.limits = connLimits{total: c.total, waiting: c.total, each: c.each}
			s := Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, "served")
				_ = http.NewResponseController(w).Flush() // a TCP connection can
				<-r.Context().Done()
			}))
			address := serveOn(t, s, l)
			var open []net.Conn
			for range c.total + 5 {
				if conn := dial(t, address); served(conn) {
					open = append(open, conn)
				}
			}
			if len(open) != c.want {
				t.Errorf("open connections: got %d, want %d", len(open), c.want)
			}
			open[0].Close()
			must.Eventually(t, "a place is free again", func() bool { return served(dial(t, address)) })
		})
	}
}

// I8, F22: clients that send headers or a body very slowly do not delay others, and are disconnected.
func TestI8F22SlowClientsDoNotDelayOthers(t *testing.T) {
	clients, patience, server := 200, 5*time.Second, Server(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
		}),
	)
	server.ReadHeaderTimeout, server.ReadTimeout = time.Second, 2*time.Second
	if os.Getenv("SLIPWAY_TRUST") != "" {
		clients, patience = 2000, time.Second
		server.ReadHeaderTimeout, server.ReadTimeout = 5*time.Second, 15*time.Second
	}
	before := runtime.NumGoroutine()
	address := serveOn(t, server, Limited(listen(t), nil))
	slow := make([]net.Conn, clients)
	for i := range slow {
		slow[i] = dial(t, address)
		request := "POST / HTTP/1.1\r\nHost: x\r\nX-Slow: "
		if i%2 == 1 {
			request = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
		}
		fmt.Fprint(slow[i], request)
	}
	ctx, stop := context.WithTimeout(t.Context(), server.ReadTimeout+5*time.Second)
	defer stop()
	var trickle sync.WaitGroup
	trickle.Go(func() { feed(ctx, slow) })
	took := ask(t, address, 50)
	if p99 := took[len(took)-1]; p99 > patience {
		t.Errorf("%d slow clients: got %s for the slowest response, want at most %s", clients, p99, patience)
	}
	for i, c := range slow {
		if err := c.SetReadDeadline(time.Now().Add(server.ReadTimeout + 5*time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("client %d of %d: got an open connection, want it closed", i, clients)
		}
	}
	stop()
	trickle.Wait()
	must.Eventually(t, "no goroutine is left of them", func() bool { return runtime.NumGoroutine() <= before+10 })
}

// feed repeatedly sends one byte on every connection until ctx ends.
func feed(ctx context.Context, to []net.Conn) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, c := range to {
			_, _ = c.Write([]byte("x")) // may be disconnected already
		}
	}
}

// ask sends requests from another address and returns their durations, sorted.
func ask(t *testing.T, address string, n int) (took []time.Duration) {
	t.Helper()
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	client := &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: from.DialContext},
		Timeout:   10 * time.Second,
	}
	for range n {
		began := time.Now()
		r, err := client.Get("http://" + address)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took
}

// served reports whether a connection gets a response. Rejected connections are closed.
func served(c net.Conn) bool {
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second)) // a TCP connection takes one
	n, err := c.Read(make([]byte, 8))
	return err == nil && n > 0
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// A7.2: the addresses of one IPv6 /64 share a limit, and other networks have their own.
func TestA72AnIPv6NetworkIsOneClient(t *testing.T) {
	table := newConnTable(connLimits{total: 100, waiting: 100, each: 3}, time.Now)
	var all []*limitedConn
	admit := func(address string) bool {
		c := &limitedConn{table: table, Conn: namedConn{close: func() {}}}
		all = append(all, c)
		ok := table.admit(c, httpx.ClientAddress(netip.MustParseAddr(address)), false)
		table.move(c, phaseServed)
		return ok
	}
	for i := range 3 {
		if !admit(fmt.Sprintf("2001:db8:1:2::%x", i)) {
			t.Fatalf("connection %d of the network: got it refused, want it accepted", i)
		}
	}
	if admit("2001:db8:1:2::4") {
		t.Error("fourth connection of the network: got it accepted, want it refused")
	}
	if !admit("2001:db8:1:3::1") {
		t.Error("connection of another network: got it refused, want it accepted")
	}
	if err := all[0].Close(); err != nil {
		t.Fatal(err)
	}
	if !admit("2001:db8:1:2::5") {
		t.Error("connection after one was closed: got it refused, want it accepted")
	}
}

// A7.2: if all places are used, a new connection replaces the one that is idle for longest.
// Connections with a running request stay open.
func TestA72IdleConnectionsMakePlace(t *testing.T) {
	l := Limited(listen(t), nil).(*limitedListener)
	l.table.limits = connLimits{total: 3, waiting: 3, each: 10}
	release := make(chan struct{})
	var running atomic.Int32 // requests of /busy
	s := Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/busy" {
			running.Add(1)
			<-release
		}
		fmt.Fprint(w, "served")
	}))
	address := serveOn(t, s, l)
	t.Cleanup(func() { close(release) })
	silent := dial(t, address) // sends nothing
	kept := dial(t, address)
	if !served(kept) {
		t.Fatal("second connection: got no response, want one")
	}
	busy := dial(t, address)
	fmt.Fprint(busy, "GET /busy HTTP/1.1\r\nHost: x\r\n\r\n")
	must.Eventually(t, "the request is under way", func() bool { return running.Load() == 1 })

	for i, dropped := range []net.Conn{silent, kept} {
		next := dial(t, address)
		fmt.Fprint(next, "GET /busy HTTP/1.1\r\nHost: x\r\n\r\n")
		if err := dropped.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, dropped); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("idle connection %d: got it open, want it closed", i)
		}
		must.Eventually(t, "the new request is under way", func() bool { return running.Load() == int32(i+2) })
	}
	if served(dial(t, address)) {
		t.Error("connection while all others have a request: got a response, want none")
	}
	if err := busy.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := busy.Read(make([]byte, 1)); !errors.As(err, &timeout) {
		t.Fatalf("read: got error %T (%v), want a net.Error", err, err)
	} else if !timeout.Timeout() {
		t.Error("timeout: got false, want true")
	}
}

// A7.2: if all places are used, a new connection replaces one whose client does not read the response.
func TestA72UnreadResponsesMakePlace(t *testing.T) {
	const places = 3
	l := Limited(listen(t), nil).(*limitedListener)
	l.table.limits = connLimits{total: places, waiting: places, each: 2 * places}
	var running atomic.Int32
	s := Server(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		running.Add(1)
		_, _ = w.Write(make([]byte, 64<<20)) // more than the buffers of a connection; the server cuts it off
	}))
	s.WriteTimeout = 0 // which ends them after a minute
	address := serveOn(t, s, l)
	for range places {
		fmt.Fprint(dial(t, address), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	must.Eventually(t, "all places have a response", func() bool { return running.Load() == places })
	must.Eventually(t, "a new connection gets a response", func() bool { return served(dial(t, address)) })
}
