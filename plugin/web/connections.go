package web

import (
	"net"
	"net/netip"
	"sync"

	"slipway/plugin/web/httpx"
)

const (
	// maxConnections limits open connections: each of them uses a file descriptor and about 20 kB.
	maxConnections = 4096
	// maxPerAddress limits the connections of one address, or of one IPv6 /64
	// (httpx.ClientAddress), so that one client cannot use all connections. A Data Center can send
	// 250 deliveries at once, and all browsers of a company may share one address.
	maxPerAddress = 1024
)

// Limited returns a listener that limits the number of connections, in total and per address. It
// closes new connections over the limit. If the total limit is reached, it closes the connection
// that is idle for longest instead, so that idle connections never block a webhook. Addresses in
// the networks of proxies have no limit of their own, because they forward for many clients.
func Limited(l net.Listener, proxies []string) net.Listener {
	limited := &limitedListener{Listener: l, total: maxConnections, each: maxPerAddress, open: map[netip.Addr]int{}}
	for _, p := range proxies {
		if prefix, err := netip.ParsePrefix(p); err == nil {
			limited.proxies = append(limited.proxies, prefix)
		} else if address, err := netip.ParseAddr(p); err == nil {
			limited.proxies = append(limited.proxies, netip.PrefixFrom(address, address.BitLen()))
		}
	}
	return limited
}

type limitedListener struct {
	net.Listener
	total, each int
	proxies     []netip.Prefix
	idle        idleConnections

	mu   sync.Mutex
	all  int
	open map[netip.Addr]int // by httpx.ClientAddress
}

// Accept returns the next connection that is within the limits.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := addressOf(c)
		if l.acquire(from) || l.dropIdle() && l.acquire(from) {
			return &limitedConn{Conn: c, idle: &l.idle, leave: sync.OnceFunc(func() { l.release(from) })}, nil
		}
		_ = c.Close() // the client can connect again
	}
}

func (l *limitedListener) acquire(from netip.Addr) bool {
	client := httpx.ClientAddress(from)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= l.total || l.open[client] >= l.each && !l.isProxy(from) {
		return false
	}
	l.all++
	l.open[client]++
	return true
}

// dropIdle closes the connection that is idle for longest if the listener is full.
func (l *limitedListener) dropIdle() bool {
	l.mu.Lock()
	full := l.all >= l.total
	l.mu.Unlock()
	longest := l.idle.longest()
	if !full || longest == nil {
		return false
	}
	_ = longest.Close() // the client can connect again
	return true
}

func (l *limitedListener) release(from netip.Addr) {
	client := httpx.ClientAddress(from)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	l.open[client]--
	if l.open[client] == 0 {
		delete(l.open, client)
	}
}

func (l *limitedListener) isProxy(a netip.Addr) bool {
	for _, p := range l.proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// addressOf returns the remote address, or the zero address if the listener is not TCP.
func addressOf(c net.Conn) netip.Addr {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

type limitedConn struct {
	net.Conn
	idle  *idleConnections
	leave func()
}

// Close closes the connection and frees its place for another one.
func (c *limitedConn) Close() error {
	defer c.leave()
	c.idle.remove(c)
	return c.Conn.Close()
}
