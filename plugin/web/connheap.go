package web

// A clientHeap orders clients by weight, the heaviest first. Of equal ones, the client comes first whose
// victim is in its phase for longest. It implements heap.Interface; a client is in three heaps.
type clientHeap struct {
	all    []*connClient
	index  int // in connClient.indexes
	weight func(*connClient) int
	victim func(*connClient) *limitedConn
}

// top returns the victim of the first client, or nil.
func (h *clientHeap) top() *limitedConn {
	if len(h.all) == 0 {
		return nil
	}
	return h.victim(h.all[0])
}

// Len returns the number of clients.
func (h *clientHeap) Len() int { return len(h.all) }

// Less reports whether client i loses a connection before client j.
func (h *clientHeap) Less(i, j int) bool {
	a, b := h.all[i], h.all[j]
	if h.weight(a) != h.weight(b) {
		return h.weight(a) > h.weight(b)
	}
	first, second := h.victim(a), h.victim(b)
	return first != nil && (second == nil || first.since.Before(second.since))
}

// Swap exchanges two clients.
func (h *clientHeap) Swap(i, j int) {
	h.all[i], h.all[j] = h.all[j], h.all[i]
	h.all[i].indexes[h.index], h.all[j].indexes[h.index] = i, j
}

// Push adds a *connClient at the end.
func (h *clientHeap) Push(x any) {
	client := x.(*connClient) //nolint:forcetypeassert // the heap has no others
	client.indexes[h.index] = len(h.all)
	h.all = append(h.all, client)
}

// Pop removes the client at the end.
func (h *clientHeap) Pop() any {
	last := h.all[len(h.all)-1]
	h.all = h.all[:len(h.all)-1]
	return last
}
