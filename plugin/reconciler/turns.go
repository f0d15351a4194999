package reconciler

import (
	"cmp"
	"maps"
	"sync"

	"slipway/plugin/autobuild"
)

// turns remembers the refs that polls requested in vain: the provider did not return the state of the list, or
// failed. Such refs are requested after all others, so that they delay no push, however many there are. After a
// restart every ref counts as never requested. turns is safe for concurrent use.
type turns struct {
	mu    sync.Mutex
	polls int                  // number of polls with such refs
	tried map[string]turnOrder // by hook id
	// failed counts the last polls of a hook in a row that requested all refs, and failed for some.
	failed map[string]int
}

// fail counts a failed poll, and returns the number of them in a row.
func (t *turns) fail(hookID string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed == nil {
		t.failed = map[string]int{}
	}
	t.failed[hookID]++
	return t.failed[hookID]
}

// succeed ends a row of failed polls.
func (t *turns) succeed(hookID string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.failed, hookID)
}

// of returns an order of a hook's refs, the longest waiting first: the zero turn for a ref that was never
// requested in vain. It forgets the refs that no longer differ.
func (t *turns) of(hookID string, d differences) turnOrder {
	t.mu.Lock()
	defer t.mu.Unlock()
	order := turnOrder{}
	for _, refs := range [][]autobuild.MissedPush{d.shown, d.missing} {
		for _, m := range refs {
			if last := t.tried[hookID][m.Ref]; last.poll > 0 {
				order[m.Ref] = last
			}
		}
	}
	t.set(hookID, order)
	return maps.Clone(order)
}

// add stores the refs that one poll of a hook requested in vain, with the errors of those that failed.
func (t *turns) add(hookID string, refs map[autobuild.Ref]error) {
	if len(refs) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.polls++
	order := t.tried[hookID]
	if order == nil {
		order = turnOrder{}
	}
	for ref, err := range refs {
		order[ref] = turn{poll: t.polls, err: err}
	}
	t.set(hookID, order)
}

// keep forgets the hooks that a function does not want.
func (t *turns) keep(wanted func(hookID string) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.tried, func(id string, _ turnOrder) bool { return !wanted(id) })
	maps.DeleteFunc(t.failed, func(id string, _ int) bool { return !wanted(id) })
}

func (t *turns) set(hookID string, order turnOrder) {
	if len(order) == 0 {
		delete(t.tried, hookID)
		return
	}
	if t.tried == nil {
		t.tried = map[string]turnOrder{}
	}
	t.tried[hookID] = order
}

// A turn is the last request of a ref in vain.
type turn struct {
	poll int   // its number; 0 means none
	err  error // nil if the provider answered
}

// A turnOrder has the refs that were requested in vain.
type turnOrder map[autobuild.Ref]turn

func (o turnOrder) compare(a, b autobuild.MissedPush) int {
	return cmp.Compare(o[a.Ref].poll, o[b.Ref].poll)
}
