package api

import (
	"errors"
	"io"
	"sync/atomic"
)

// maxInFlight bounds the bytes of all deliveries that are being received at once: strangers may
// send large ones before their signature is looked at.
const maxInFlight = 64 << 20

var errBusy = errors.New("too many bytes of deliveries at once")

// A budget is what deliveries under way may hold together. Its zero value has nothing to give.
type budget struct{ left atomic.Int64 }

// read is a reader that takes from the budget what it reads, and fails with errBusy when
// nothing is left. Call release when the bytes are held no more.
func (b *budget) read(r io.Reader) (reader io.Reader, release func()) {
	m := &metered{from: r, budget: b}
	return m, func() { b.left.Add(m.held) }
}

type metered struct {
	from   io.Reader
	budget *budget
	held   int64
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	m.held += int64(n)
	if m.budget.left.Add(-int64(n)) < 0 {
		return n, errBusy
	}
	return n, err
}
