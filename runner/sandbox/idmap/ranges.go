package idmap

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
)

// Ranges of IDs for sandboxes lie between the containers of systemd-nspawn and systemd's foreign IDs.
// Distributions give no subordinate IDs of users there.
// https://github.com/systemd/systemd/blob/main/docs/UIDS-GIDS.md
const (
	firstRange = 0x70000000
	lastRange  = 0x7ffe0000
	rangeCount = (lastRange - firstRange) / Count
)

// Ranges hands out ID ranges, one for each sandbox. So the kernel isolates sandboxes even if one reaches
// a file or a process of another. It is safe for concurrent use.
type Ranges struct {
	mu   sync.Mutex
	next int
	used map[int]bool
}

// NewRanges returns the ranges for a machine's root. It begins at a random range, because another
// process may hand out ranges, too.
func NewRanges() *Ranges {
	return &Ranges{next: rand.IntN(rangeCount), used: map[int]bool{}} //nolint:gosec // G404: only to spread
}

// Acquire returns a range that no other sandbox uses. release makes it available again, but it is
// handed out last.
func (r *Ranges) Acquire() (ids IDs, release func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range rangeCount {
		n := r.next
		r.next = (r.next + 1) % rangeCount
		if r.used[n] {
			continue
		}
		r.used[n] = true
		return IDs{First: firstRange + n*Count, Count: Count}, func() { r.release(n) }, nil
	}
	return IDs{}, nil, fmt.Errorf(
		"all %d ranges of IDs for sandboxes are in use: wait until a sandbox ends",
		rangeCount,
	)
}

func (r *Ranges) release(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.used, n)
}

// Shared returns IDs for all sandboxes together, for a machine's root whose kernel cannot map IDs.
func Shared() IDs { return IDs{First: firstRange, Count: Count} }

// Subordinate returns the IDs of sandboxes for root of a user namespace. It returns all IDs but the
// first, which belongs to the user outside. The sandboxes share them. The error contains a fix.
func Subordinate() (IDs, error) {
	users, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return IDs{}, err
	}
	groups, err := os.ReadFile("/proc/self/gid_map")
	if err != nil {
		return IDs{}, err
	}
	return subordinate(string(users), string(groups))
}

// subordinate is Subordinate for the content of both maps.
// https://man7.org/linux/man-pages/man7/user_namespaces.7.html
func subordinate(users, groups string) (IDs, error) {
	count := min(mapped(users), mapped(groups)) - 1
	if count < Count-1 {
		return IDs{}, fmt.Errorf("this user namespace has %d IDs, and sandboxes need %d: "+
			"add a line USER:100000:%d to /etc/subuid and /etc/subgid", count+1, Count, Count)
	}
	return IDs{First: 1, Count: Count - 1}, nil
}

// mapped returns the number of IDs from 0 without a gap in an ID map.
func mapped(idMap string) (count int) {
	for line := range strings.Lines(idMap) {
		var inside, outside, size int
		if _, err := fmt.Sscan(line, &inside, &outside, &size); err != nil || inside != count {
			return count
		}
		count += size
	}
	return count
}
