package api

import (
	"errors"
	"io"
	"sync/atomic"
)

// Limits of the bytes of all deliveries that are being received, because anybody can send large
// requests before the signature is checked. The first smallDelivery bytes of each delivery count
// against maxSmall, the rest against the remainder. So large deliveries never block small ones, and
// all deliveries of Cloud are small.
const (
	maxInFlight   = 64 << 20
	maxSmall      = 16 << 20
	smallDelivery = 256 << 10
)

var errBusy = errors.New("too many bytes of concurrent deliveries")

// A budget is the memory that all current deliveries share. Its zero value is exhausted.
type budget struct {
	small atomic.Int64 // bytes left for the first bytes of deliveries
	large atomic.Int64 // bytes left for the rest
}

// read returns a reader that takes each byte from the budget. The reader returns errBusy if the
// budget is exhausted. Call release when the bytes are no longer used.
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
