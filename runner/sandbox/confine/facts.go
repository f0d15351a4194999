package confine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	landlock "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// firstID and lastID bound the user and group ids of hooks. Debian gives no account an id in this
// range: https://www.debian.org/doc/debian-policy/ch-opersys.html#uid-and-gid-classes
const (
	firstID = 62000
	lastID  = 63999
)

// ReadFacts reads the facts of this process.
func ReadFacts() (Facts, error) {
	f := Facts{UID: os.Geteuid()}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // 32 bits each
	if err := unix.Capget(&header, &data[0]); err != nil {
		return f, fmt.Errorf("read the capabilities: %w", err)
	}
	f.Capabilities = uint64(data[1].Effective)<<32 | uint64(data[0].Effective)
	users, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return f, err
	}
	groups, err := os.ReadFile("/proc/self/gid_map")
	if err != nil {
		return f, err
	}
	f.OtherIDs = hasIDs(string(users)) && hasIDs(string(groups))
	setgroups, err := os.ReadFile("/proc/self/setgroups")
	if err != nil {
		return f, err
	}
	f.SetGroups = string(bytes.TrimSpace(setgroups)) == "allow"
	f.Landlock, err = landlock.LandlockGetABIVersion()
	if err != nil {
		f.Landlock, f.LandlockErr = 0, err.Error()
	}
	return f, nil
}

// hasIDs reports whether an id map of the kernel, with lines of "inside outside length", has the ids of
// hooks.
func hasIDs(idMap string) bool {
	for line := range strings.Lines(idMap) {
		var inside, outside, length uint64
		if _, err := fmt.Sscan(line, &inside, &outside, &length); err != nil {
			continue
		}
		if inside <= firstID && inside+length > lastID {
			return true
		}
	}
	return false
}

// ids are the ids of an attempt's hooks. The group ids are equal.
type ids struct {
	Hook int
	// Spare is the id of no process at all, except while the guard kills the hook's processes (signalAll).
	Spare int
}

// unusedIDs returns ids that no process has, chosen at random. They must be unused, because kill(-1)
// signals all processes of a user, and steps of a CI may share a machine or container. root is the root
// directory.
func unusedIDs(root fs.FS) (ids, error) {
	used, err := usedIDs(root)
	if err != nil {
		return ids{}, err
	}
	const pairs = (lastID - firstID + 1) / 2
	for _, pair := range rand.Perm(pairs) { //nolint:gosec // G404: spreads ids; not a secret
		hook := firstID + 2*pair
		if !used[hook] && !used[hook+1] {
			return ids{Hook: hook, Spare: hook + 1}, nil
		}
	}
	return ids{}, fmt.Errorf("all user ids from %d to %d are in use", firstID, lastID)
}

// usedIDs returns the user ids of all processes and of all accounts.
func usedIDs(root fs.FS) (map[int]bool, error) {
	used := map[int]bool{}
	add := func(fields []string) {
		for _, field := range fields {
			if id, err := strconv.Atoi(field); err == nil {
				used[id] = true
			}
		}
	}
	entries, err := fs.ReadDir(root, "proc")
	if err != nil {
		return nil, fmt.Errorf("find an unused user id: %w", err)
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		status, err := fs.ReadFile(root, "proc/"+e.Name()+"/status")
		if err != nil {
			continue // it has ended
		}
		for line := range strings.Lines(string(status)) {
			if rest, ok := strings.CutPrefix(line, "Uid:"); ok {
				add(strings.Fields(rest))
			}
		}
	}
	accounts, err := fs.ReadFile(root, "etc/passwd")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("find an unused user id: %w", err)
	}
	for line := range strings.Lines(string(accounts)) {
		if fields := strings.Split(line, ":"); len(fields) > 2 {
			add(fields[2:3])
		}
	}
	return used, nil
}
