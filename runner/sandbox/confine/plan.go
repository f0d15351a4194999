package confine

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// A Level is a mode of isolation between a hook and its step.
type Level string

// The levels, best first.
const (
	LevelUser     Level = "another user"
	LevelLandlock Level = "Landlock"
	LevelNone     Level = "" // hooks must not run
)

// minLandlock is the first version of Landlock that denies signals to processes outside the domain
// (Linux 6.12). https://docs.kernel.org/userspace-api/landlock.html#ipc-scoping-abi-6
const minLandlock = 6

// Facts are the properties of the step that determine the level.
type Facts struct {
	UID          int    // effective
	Capabilities uint64 // effective, as a set of bits
	OtherIDs     bool   // the user namespace has the user and group ids of hooks
	SetGroups    bool   // the supplementary groups can be removed
	Landlock     int    // version of Landlock; 0 = none
	LandlockErr  string // reason why Landlock is not available
}

// A Plan is the chosen level, with the reasons.
type Plan struct {
	Level Level
	// Reasons has one entry for each better level, which is not possible, for example "another user: the step
	// is not root (uid 1000)".
	Reasons []string
}

// MakePlan chooses the level.
func MakePlan(f Facts) Plan {
	var p Plan
	if why := f.denyUser(); why != "" {
		p.Reasons = append(p.Reasons, fmt.Sprintf("%s: %s", LevelUser, why))
	} else {
		p.Level = LevelUser
		return p
	}
	if why := f.denyLandlock(); why != "" {
		p.Reasons = append(p.Reasons, fmt.Sprintf("%s: %s", LevelLandlock, why))
		return p
	}
	p.Level = LevelLandlock
	return p
}

// denyUser returns the reason why hooks cannot run as another user, or "".
func (f Facts) denyUser() string {
	if f.UID != 0 {
		return fmt.Sprintf("the step is not root (uid %d)", f.UID)
	}
	for _, c := range []struct {
		bit  uint
		name string
		use  string
	}{
		{unix.CAP_SETUID, "CAP_SETUID", "change the user"},
		{unix.CAP_SETGID, "CAP_SETGID", "change the group"},
		{unix.CAP_CHOWN, "CAP_CHOWN", "give the hook its workspace"},
		{unix.CAP_FOWNER, "CAP_FOWNER", "change the files of the hook"},
		{unix.CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE", "read and delete the files of the hook"},
	} {
		if f.Capabilities&(1<<c.bit) == 0 {
			return fmt.Sprintf("the step lacks %s, which it needs to %s", c.name, c.use)
		}
	}
	if !f.OtherIDs {
		return fmt.Sprintf("the user namespace has no user and group ids from %d to %d", firstID, lastID)
	}
	if !f.SetGroups {
		return "the user namespace denies setgroups"
	}
	return ""
}

// denyLandlock returns the reason why hooks cannot run in a Landlock domain, or "".
func (f Facts) denyLandlock() string {
	switch {
	case f.Landlock == 0:
		return "not available: " + f.LandlockErr
	case f.Landlock < minLandlock:
		const tooOld = "the kernel has version %d, and version %d (Linux 6.12) is required"
		return fmt.Sprintf(tooOld, f.Landlock, minLandlock)
	}
	return ""
}

// An UnavailableError reports that hooks cannot be isolated from the step.
type UnavailableError struct{ Reasons []string }

// Error implements the interface error.
func (e *UnavailableError) Error() string {
	return "build hooks need a step that runs as root, or Linux 6.12 with Landlock: " + strings.Join(e.Reasons, "; ")
}
