package web

import (
	"container/list"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"slipway/plugin/web/httpx"
)

// The limits of open connections. Each of them uses a file descriptor and about 20 kB.
const (
	maxConnections = 4096
	// maxWaiting limits the connections without a complete request header. The remaining places are a
	// reserve for requests whose body is under way.
	maxWaiting = 3072
	// maxPerAddress limits the connections of one address, or of one IPv6 /64 (httpx.ClientAddress),
	// so that one client cannot use all connections. A Data Center can send 250 deliveries at once, and
	// all browsers of a company may share one address.
	maxPerAddress = 1024
)

// Limited returns a listener that limits the number of connections, in total and per address. A new
// connection takes the place of one that is idle or sends its request slowly (connTable), so that such
// connections never block a webhook. If there is none, it is closed. Addresses in the networks of
// proxies have no limit of their own, because they forward for many clients.
func Limited(l net.Listener, proxies []string) net.Listener {
	total := min(maxConnections, descriptors()/2)
	table := newConnTable(connLimits{
		total:   total,
		waiting: total * maxWaiting / maxConnections,
		each:    maxPerAddress,
	}, time.Now)
	limited := &limitedListener{
		Listener: l, table: table, parked: make(chan struct{}), closed: make(chan struct{}),
	}
	limited.park = sync.OnceFunc(func() { close(limited.parked) })
	limited.close = sync.OnceFunc(func() { close(limited.closed) })
	for _, p := range proxies {
		if prefix, err := netip.ParsePrefix(p); err == nil {
			limited.proxies = append(limited.proxies, prefix)
		} else if address, err := netip.ParseAddr(p); err == nil {
			limited.proxies = append(limited.proxies, netip.PrefixFrom(address, address.BitLen()))
		}
	}
	return limited
}

// descriptors returns the number of files that this process may open.
func descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > 2*maxConnections {
		return 2 * maxConnections
	}
	return int(limit.Cur)
}

type limitedListener struct {
	net.Listener
	table   *connTable
	proxies []netip.Prefix

	parking atomic.Bool
	parked  chan struct{} // closed when Accept waits for Close
	closed  chan struct{}
	park    func() // closes parked
	close   func() // closes closed
}

// Accept returns the next connection that is within the limits.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		if l.parking.Load() {
			l.park()
			<-l.closed
		}
		c, err := l.Listener.Accept()
		if err != nil && l.parking.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			return nil, err
		}
		from := addressOf(c)
		limited := &limitedConn{Conn: c, table: l.table}
		if l.table.admit(limited, httpx.ClientAddress(from), l.isProxy(from)) {
			return limited, nil
		}
		_ = c.Close() // the client can connect again
	}
}

// Close closes the listener.
func (l *limitedListener) Close() error {
	err := l.Listener.Close()
	l.close()
	return err
}

// parkTimeout bounds the wait for a call of Accept.
const parkTimeout = time.Second

// stopAccepting leaves new connections in the kernel's queue, and waits until the server has got the last
// accepted one. Otherwise the server could stop between the system call and its own count.
func (l *limitedListener) stopAccepting() {
	deadliner, ok := l.Listener.(interface{ SetDeadline(t time.Time) error })
	if !ok {
		return
	}
	l.parking.Store(true)
	if err := deadliner.SetDeadline(time.Unix(1, 0)); err != nil {
		return // it is closed
	}
	select {
	case <-l.parked:
	case <-l.closed:
	case <-time.After(parkTimeout): // the server does not serve
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

// A limitedConn is a connection of a limitedListener. Its table protects the fields below it.
type limitedConn struct {
	net.Conn
	table *connTable

	client *connClient // nil = not in the table
	phase  connPhase
	since  time.Time     // begin of the phase
	place  *list.Element // in the client's list of the phase
}

// Read reads from the connection. The first bytes begin a header.
func (c *limitedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.table.moveFrom(c, phaseIdle, phaseHeader)
	}
	return n, err
}

// slowWrite is the duration of one Write from which a client counts as slow until the end of the response.
const slowWrite = 100 * time.Millisecond

// Write writes a part of a response. A client that does not read it may lose its place. So may one that reads a little
// at a time: after a slow Write, the phase goes on.
func (c *limitedConn) Write(p []byte) (int, error) {
	began := c.table.now()
	if moved := c.table.moveFrom(c, phaseServed, phaseWrite); !moved {
		return c.Conn.Write(p)
	}
	n, err := c.Conn.Write(p)
	if c.table.now().Sub(began) < slowWrite {
		c.table.moveFrom(c, phaseWrite, phaseServed)
	}
	return n, err
}

// Close closes the connection and frees its place for another one.
func (c *limitedConn) Close() error {
	c.table.remove(c)
	return c.Conn.Close()
}
