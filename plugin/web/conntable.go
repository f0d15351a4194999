package web

import (
	"container/heap"
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// A connPhase is the progress of a connection's current request.
type connPhase int

// The phases of a connection. Connections of all but the last can lose their place.
const (
	phaseIdle   connPhase = iota // without a request, also a new connection
	phaseHeader                  // a part of the header has arrived, or the response is being flushed
	phaseBody                    // the handler runs, and a part of the body is missing
	phaseWrite                   // the client reads the response slowly, or not at all
	phaseServed                  // the handler runs, and the request is complete
	phases
)

// slowTime is how long a connection without a complete request is not dropped for a client that has more
// connections. Webhooks arrive within milliseconds.
const slowTime = time.Second

// connLimits are numbers of open connections.
type connLimits struct {
	total   int // of all clients
	waiting int // idle, or with an incomplete header
	each    int // of one client
}

// A connTable counts the open connections of each client, and decides which one loses its place for a
// new one. It is safe for concurrent use.
//
// Waiting connections (idle, or with an incomplete header) are dropped first. If there are none, a
// connection is dropped whose body is incomplete, and then one whose client reads the response slowly, or not
// at all, for slowTime. In all cases the client with the most such connections loses one: first the one that is idle
// for longest. A client never loses one to a client that has more connections (but see slowTime). So a
// client that opens few connections, as Bitbucket does, is not affected by those that open many.
type connTable struct {
	limits connLimits
	now    func() time.Time

	mu      sync.Mutex
	open    int
	waiting int
	clients map[netip.Addr]*connClient // by httpx.ClientAddress
	byWait  clientHeap                 // clients by their number of waiting connections
	byBody  clientHeap                 // clients by their number of connections in phaseBody
	byWrite clientHeap                 // clients by their number of connections in phaseWrite
}

// A connClient is an address, or an IPv6 /64, with open connections.
type connClient struct {
	address netip.Addr
	proxy   bool
	open    int
	conns   [phases]list.List // of *limitedConn by phase, longest in it first
	indexes [3]int            // in byWait, byBody and byWrite
}

func newConnTable(limits connLimits, now func() time.Time) *connTable {
	return &connTable{
		limits:  limits,
		now:     now,
		clients: map[netip.Addr]*connClient{},
		byWait:  clientHeap{index: 0, victim: (*connClient).waitingVictim, weight: (*connClient).waitingWeight},
		byBody:  clientHeap{index: 1, victim: (*connClient).bodyVictim, weight: (*connClient).bodyWeight},
		byWrite: clientHeap{index: 2, victim: (*connClient).writeVictim, weight: (*connClient).writeWeight},
	}
}

// admit adds a new connection in phaseIdle. It closes another one if there is no place. It returns
// false if no other connection may be dropped.
func (t *connTable) admit(c *limitedConn, address netip.Addr, proxy bool) bool {
	victim, ok := t.add(c, address, proxy)
	if victim != nil {
		_ = victim.Conn.Close() // the client can connect again
	}
	return ok
}

func (t *connTable) add(c *limitedConn, address netip.Addr, proxy bool) (victim *limitedConn, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	client := t.clients[address]
	switch {
	case client != nil && client.open >= t.limits.each && !proxy:
		victim = t.choose(client.waitingVictim(), client.bodyVictim(), client.writeVictim(), client)
	case t.open >= t.limits.total:
		victim = t.choose(t.byWait.top(), t.byBody.top(), t.byWrite.top(), client)
	default:
		if t.waiting >= t.limits.waiting {
			if victim = t.choose(t.byWait.top(), nil, nil, client); victim != nil {
				t.drop(victim)
			}
		}
		t.insert(c, address, proxy)
		return victim, true
	}
	if victim == nil {
		return nil, false
	}
	t.drop(victim)
	t.insert(c, address, proxy)
	return victim, true
}

// choose returns the connection to drop for a new one of a client, or nil. waiting, body and
// write are the candidates, or nil. The client is nil if it has no other connection. A client with more connections
// than the new one's loses one at once, and others after slowTime.
func (t *connTable) choose(waiting, body, write *limitedConn, client *connClient) *limitedConn {
	open := 0
	if client != nil {
		open = client.open
	}
	isSlow := func(c *limitedConn) bool { return t.now().Sub(c.since) >= slowTime }
	switch {
	case waiting != nil && waiting.client.open >= open:
		return waiting
	case body != nil && (body.client.bodyWeight() > open || isSlow(body)):
		return body
	case waiting != nil && isSlow(waiting):
		return waiting
	case write != nil && isSlow(write):
		return write
	}
	return nil
}

func (t *connTable) insert(c *limitedConn, address netip.Addr, proxy bool) {
	client := t.clients[address]
	if client == nil {
		client = &connClient{address: address, proxy: proxy}
		t.clients[address] = client
		heap.Push(&t.byWait, client)
		heap.Push(&t.byBody, client)
		heap.Push(&t.byWrite, client)
	}
	c.client = client
	client.open++
	t.open++
	t.enter(c, phaseIdle)
}

// remove removes a connection that is being closed. It may have been removed already.
func (t *connTable) remove(c *limitedConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(c)
}

func (t *connTable) drop(c *limitedConn) {
	client := c.client
	if client == nil {
		return
	}
	t.leave(c)
	c.client = nil
	t.open--
	client.open--
	if client.open > 0 {
		t.fix(client)
		return
	}
	delete(t.clients, client.address)
	heap.Remove(&t.byWait, client.indexes[0])
	heap.Remove(&t.byBody, client.indexes[1])
	heap.Remove(&t.byWrite, client.indexes[2])
}

// move changes the phase of a connection, unless it has lost its place.
func (t *connTable) move(c *limitedConn, to connPhase) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.change(c, to)
}

// moveFrom is like move for a connection that is in the phase from. For others, it does nothing and returns false.
func (t *connTable) moveFrom(c *limitedConn, from, to connPhase) (moved bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.phase != from {
		return false
	}
	t.change(c, to)
	return true
}

func (t *connTable) change(c *limitedConn, to connPhase) {
	if c.client == nil || c.phase == to {
		return
	}
	t.leave(c)
	t.enter(c, to)
}

func (t *connTable) enter(c *limitedConn, phase connPhase) {
	c.phase, c.since = phase, t.now()
	c.place = c.client.conns[phase].PushBack(c)
	if phase <= phaseHeader {
		t.waiting++
	}
	t.fix(c.client)
}

func (t *connTable) leave(c *limitedConn) {
	c.client.conns[c.phase].Remove(c.place)
	if c.phase <= phaseHeader {
		t.waiting--
	}
}

func (t *connTable) fix(client *connClient) {
	heap.Fix(&t.byWait, client.indexes[0])
	heap.Fix(&t.byBody, client.indexes[1])
	heap.Fix(&t.byWrite, client.indexes[2])
}

// front returns the connection that is in a phase for longest, or nil.
func (c *connClient) front(phase connPhase) *limitedConn {
	if e := c.conns[phase].Front(); e != nil {
		return e.Value.(*limitedConn) //nolint:forcetypeassert // the lists have no others
	}
	return nil
}

// waitingVictim returns the waiting connection to drop first. A proxy loses only idle ones: it opens them
// again, but a request that it forwards belongs to any client.
func (c *connClient) waitingVictim() *limitedConn {
	if idle := c.front(phaseIdle); idle != nil || c.proxy {
		return idle
	}
	return c.front(phaseHeader)
}

// waitingWeight is the rank among the clients that lose a waiting connection. Proxies are the last.
func (c *connClient) waitingWeight() int {
	if c.proxy {
		return min(c.conns[phaseIdle].Len(), 1)
	}
	return 2 * (c.conns[phaseIdle].Len() + c.conns[phaseHeader].Len())
}

// bodyVictim returns the connection in phaseBody to drop first. A proxy loses none.
func (c *connClient) bodyVictim() *limitedConn {
	if c.proxy {
		return nil
	}
	return c.front(phaseBody)
}

func (c *connClient) bodyWeight() int {
	if c.proxy {
		return 0
	}
	return c.conns[phaseBody].Len()
}

// writeVictim returns the connection in phaseWrite to drop first. A proxy loses none.
func (c *connClient) writeVictim() *limitedConn {
	if c.proxy {
		return nil
	}
	return c.front(phaseWrite)
}

func (c *connClient) writeWeight() int {
	if c.proxy {
		return 0
	}
	return c.conns[phaseWrite].Len()
}
