package api

import (
	"container/list"
	"errors"
	"io"
	"sync"
	"time"
)

// Limits of the bytes of all deliveries that are being received, because anybody can send large
// requests before the signature is checked. A budget has two parts: the first smallDelivery bytes of each delivery
// count against one, the rest against the other. So large deliveries never block small ones, and all deliveries of
// Cloud are small.
//
// Deliveries to webhooks that exist have 12 and 44 MiB (knownBudget), and all others 4 and 4 MiB (unknownBudget). A
// webhook's id is random and only Bitbucket has it, so other clients cannot use the bytes of its deliveries. While the
// database is down, no webhook is known to exist, and all deliveries share the 8 MiB.
const (
	maxInFlight   = 64 << 20
	maxSmall      = 16 << 20
	maxUnknown    = 4 << 20
	smallDelivery = 256 << 10
)

// knownBudget returns the bytes of deliveries to webhooks that exist.
func knownBudget() [2]int64 {
	return [2]int64{maxSmall - maxUnknown, maxInFlight - maxSmall - maxUnknown}
}

// unknownBudget returns the bytes of deliveries to other webhooks.
func unknownBudget() [2]int64 { return [2]int64{maxUnknown, maxUnknown} }

// slowDelivery is how long a delivery is not given up for one of another client with as many bytes.
const slowDelivery = time.Second

var errBusy = errors.New("too many bytes of concurrent deliveries")

// A budget is the memory that all current deliveries share. Its zero value is exhausted. It is safe for
// concurrent use.
//
// If it is exhausted, an incomplete delivery is given up: of the client that holds the most bytes, the
// oldest. So clients that send their bodies slowly, or stop in the middle, do not block deliveries.
type budget struct {
	mu         sync.Mutex
	left       [2]int64            // bytes left, for the first bytes of deliveries and for the rest
	held       map[string][2]int64 // bytes of incomplete deliveries, by client
	incomplete list.List           // of *metered, oldest first
}

// The parts of a budget.
const (
	partSmall = iota
	partLarge
)

// read returns a reader that takes each byte from the budget. The reader returns errBusy if the
// budget is exhausted, or if the delivery was given up; then interrupt was called to end a running
// Read of r. Call release when the bytes are no longer used. client is the sender.
func (b *budget) read(r io.Reader, client string, interrupt func()) (reader io.Reader, release func()) {
	m := &metered{from: r, budget: b, client: client, interrupt: interrupt, began: time.Now()}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held == nil {
		b.held = map[string][2]int64{}
	}
	m.place = b.incomplete.PushBack(m)
	return m, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.complete(m)
		b.giveBack(m)
	}
}

// take takes n bytes for a delivery. It gives up others if necessary. complete means that they are the last.
func (b *budget) take(m *metered, n int64, complete bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.givenUp {
		return errBusy
	}
	first := min(n, max(0, smallDelivery-m.held[partSmall]))
	b.add(m, [2]int64{first, n - first})
	for part, taken := range [2]int64{first, n - first} {
		for taken > 0 && b.left[part] < 0 {
			victim := b.victim(m, part)
			if victim == nil {
				return errBusy
			}
			b.complete(victim)
			b.giveBack(victim)
			victim.givenUp = true
			victim.interrupt()
		}
	}
	if complete {
		b.complete(m)
	}
	return nil
}

// victim returns the delivery to give up for a part of the budget, or nil. It is the oldest of the other
// client with the most bytes, if that one has more than the client of m. If both have as many, it must be
// older than slowDelivery.
func (b *budget) victim(m *metered, part int) (victim *metered) {
	for e := b.incomplete.Front(); e != nil; e = e.Next() {
		other := e.Value.(*metered) //nolint:forcetypeassert // the list has no others
		if other.client == m.client || other.held[part] == 0 {
			continue
		}
		if victim == nil || b.held[other.client][part] > b.held[victim.client][part] {
			victim = other
		}
	}
	if victim == nil {
		return nil
	}
	theirs, ours := b.held[victim.client][part], b.held[m.client][part]
	if theirs > ours || theirs == ours && time.Since(victim.began) >= slowDelivery {
		return victim
	}
	return nil
}

// add counts bytes of an incomplete delivery.
func (b *budget) add(m *metered, n [2]int64) {
	ofClient := b.held[m.client]
	for part := range n {
		b.left[part] -= n[part]
		m.held[part] += n[part]
		ofClient[part] += n[part]
	}
	b.held[m.client] = ofClient
}

// complete removes a delivery from the incomplete ones. It may have been removed already.
func (b *budget) complete(m *metered) {
	if m.place == nil {
		return
	}
	b.incomplete.Remove(m.place)
	m.place = nil
	ofClient := b.held[m.client]
	for part := range ofClient {
		ofClient[part] -= m.held[part]
	}
	b.held[m.client] = ofClient
	if ofClient == [2]int64{} {
		delete(b.held, m.client)
	}
}

// giveBack returns the bytes of a delivery to the budget.
func (b *budget) giveBack(m *metered) {
	for part := range m.held {
		b.left[part] += m.held[part]
		m.held[part] = 0
	}
}

// A metered is the body of one delivery. Its budget protects the fields after began.
type metered struct {
	from      io.Reader
	budget    *budget
	client    string
	interrupt func()
	began     time.Time

	held    [2]int64
	place   *list.Element // in budget.incomplete; nil = complete
	givenUp bool
}

// Read reads from the body.
func (m *metered) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	if busy := m.budget.take(m, int64(n), err != nil); busy != nil {
		return n, busy
	}
	return n, err
}
