package api

import (
	"errors"
	"io"
	"sync/atomic"
)

// The bytes of all deliveries that are being received at once are bounded: strangers may send
// large ones before their signature is looked at. The first smallDelivery bytes of each come
// out of a part of their own, so that who sends large ones keeps out none that is small, as
// all of Cloud's are.
const (
	maxInFlight   = 64 << 20
	maxSmall      = 16 << 20
	smallDelivery = 256 << 10
)

var errBusy = errors.New("too many bytes of deliveries at once")

// A budget is what deliveries under way may hold together. Its zero value has nothing to give.
type budget struct {
	small atomic.Int64 // left for the first bytes of deliveries
	large atomic.Int64 // left for the rest
}

// read is a reader that takes from the budget what it reads, and fails with errBusy when
// nothing is left. Call release when the bytes are held no more.
func (b *budget) read(r io.Reader) (reader io.Reader, release func()) {
	m := &metered{from: r, budget: b}
	return m, func() {
		first := min(m.held, smallDelivery)
		b.small.Add(first)
		b.large.Add(m.held - first)
	}
}

type metered struct {
	from   io.Reader
	budget *budget
	held   int64
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	first := min(int64(n), max(0, smallDelivery-m.held))
	m.held += int64(n)
	small, large := m.budget.small.Add(-first), m.budget.large.Add(first-int64(n))
	if first > 0 && small < 0 || int64(n) > first && large < 0 {
		return n, errBusy
	}
	return n, err
}
