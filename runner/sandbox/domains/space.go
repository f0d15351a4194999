package domains

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"slipway/config/size"
)

// keepUsed is the time for which a state stays after a request for its builder, even if there is no
// space. The client that made the request may not have connected yet.
const keepUsed = time.Minute

// A cacheState is the state directory of a domain.
type cacheState struct {
	name  string    // name of the directory
	bytes int64     // size of the cache, as its builder last reported it
	used  time.Time // time of the last request for the builder
	busy  bool      // a client is using the builder
}

// A space is the space for all states together.
type space struct {
	limit  int64 // maximum sum of all sizes, in bytes
	shared int64 // size of the shared layers, which count too, in bytes
	free   int64 // free space of the disk, in bytes
	floor  int64 // free space that the states must leave, in bytes
}

// A drop is the decision to delete a state.
type drop struct {
	name   string // name of the directory
	reason string
}

// planDrops returns the states to delete, the least recently used first, until the others fit. If not even all
// deletions would free enough of the disk, it deletes none for that: other files fill it.
func planDrops(all []cacheState, s space, now time.Time) []drop {
	total := s.shared
	for _, state := range all {
		total += state.bytes
	}
	candidates := droppable(all, now)
	if s.isFilledByOthers(candidates) {
		s.floor = 0
	}
	var drops []drop
	for _, state := range candidates {
		reason := s.shortage(total)
		if reason == "" {
			break
		}
		drops = append(drops, drop{name: state.name, reason: reason})
		total -= state.bytes
		s.free += state.bytes
	}
	return drops
}

// droppable returns the states that may be deleted, the least recently used first. It leaves out states in use, and
// the most recently used state, because that state's builder keeps it below the limit.
func droppable(all []cacheState, now time.Time) []cacheState {
	all = slices.SortedFunc(slices.Values(all), func(a, b cacheState) int {
		return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.name, b.name))
	})
	var found []cacheState
	for i, state := range all {
		if !state.busy && i < len(all)-1 && now.Sub(state.used) >= keepUsed {
			found = append(found, state)
		}
	}
	return found
}

// isFilledByOthers reports whether the disk would have too little free space even without the states.
func (s space) isFilledByOthers(states []cacheState) bool {
	free := s.free
	for _, state := range states {
		free += state.bytes
	}
	return free < s.floor
}

// shortage returns the reason to delete a state, or "" if there is enough space.
func (s space) shortage(total int64) string {
	switch {
	case total > s.limit:
		return fmt.Sprintf("the caches have %s, and the limit is %s", size.Format(total), size.Format(s.limit))
	case s.free < s.floor:
		return fmt.Sprintf(
			"the disk has %s of free space, and %s should be free",
			size.Format(s.free),
			size.Format(s.floor),
		)
	}
	return ""
}
