package builder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/sys/user"
	"github.com/moby/sys/userns"
	"golang.org/x/sys/unix"
)

// The ways in which a server can run.
const (
	ModeRoot     = "root"     // as root of the machine
	ModeRootless = "rootless" // as root of a user namespace of its own
	ModeNone     = "none"     // BuildKit cannot mount here
)

// An isolation is how a server is set apart from the machine.
type isolation struct {
	mode   string
	reason string // for ModeNone: what forbids it, and the setting that would mend it
	attr   syscall.SysProcAttr
	// mapIDs writes the user namespace's maps from outside, where the process itself may
	// not; nil = the kernel was given them in attr, or there are none.
	mapIDs func(ctx context.Context, pid int) error
}

// machineFacts is what planIsolation knows.
type machineFacts struct {
	uid        int
	admin      bool // CAP_SYS_ADMIN
	setIDs     bool // CAP_SETUID and CAP_SETGID
	userNS     error
	subUIDs    []user.SubID
	subGIDs    []user.SubID
	newidmap   bool // newuidmap and newgidmap are installed
	nestedUser bool // in a user namespace already
}

func readMachine() machineFacts {
	f := machineFacts{uid: os.Geteuid(), nestedUser: userns.RunningInUserNS()}
	caps := effectiveCaps()
	f.admin = caps&(1<<unix.CAP_SYS_ADMIN) != 0
	f.setIDs = caps&(1<<unix.CAP_SETUID) != 0 && caps&(1<<unix.CAP_SETGID) != 0
	if f.admin {
		return f
	}
	f.userNS = tryUserNS()
	f.subUIDs, _ = user.CurrentUserSubUIDs()
	f.subGIDs, _ = user.CurrentUserSubGIDs()
	_, errU := exec.LookPath("newuidmap")
	_, errG := exec.LookPath("newgidmap")
	f.newidmap = errU == nil && errG == nil
	return f
}

func effectiveCaps() uint64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(status), "\n") {
		if text, ok := strings.CutPrefix(line, "CapEff:"); ok {
			caps, _ := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
			return caps
		}
	}
	return 0
}

// tryUserNS starts a program that ends at once in a user namespace of its own.
func tryUserNS() error {
	cmd := exec.CommandContext(context.Background(), "true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS}
	return cmd.Run()
}

// privileged reports whether this process is root of the machine.
func privileged() bool {
	return os.Geteuid() == 0 && !userns.RunningInUserNS()
}

const (
	rootFlags     = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID
	rootlessFlags = rootFlags | syscall.CLONE_NEWUSER
	idRange       = 65536 // ids that images may use
)

// planIsolation decides how a server runs here.
func planIsolation(f machineFacts) isolation {
	switch {
	case f.uid == 0 && f.admin:
		mode := ModeRoot
		if f.nestedUser {
			mode = ModeRootless
		}
		return isolation{mode: mode, attr: syscall.SysProcAttr{Cloneflags: rootFlags}}
	case f.userNS != nil:
		return isolation{mode: ModeNone, reason: fmt.Sprintf(
			"this process may neither mount nor make a user namespace (%v): run it as root, or in a container with --security-opt seccomp=unconfined (and apparmor=unconfined), or set SLIPWAY_BUILDER to a builder elsewhere", f.userNS)}
	case f.uid == 0 && f.setIDs:
		return selfMapped()
	case f.uid == 0:
		return isolation{mode: ModeNone, reason: "root without CAP_SETUID and CAP_SETGID cannot map users: add both capabilities to the container"}
	case !f.newidmap:
		return isolation{mode: ModeNone, reason: "newuidmap and newgidmap are not installed (Debian: apt-get install uidmap)"}
	case widest(f.subUIDs).Count < idRange || widest(f.subGIDs).Count < idRange:
		return isolation{mode: ModeNone, reason: "this user has no 65536 subordinate ids: add a line USER:100000:65536 to /etc/subuid and /etc/subgid"}
	default:
		return helperMapped(f)
	}
}

// selfMapped is for root in a container: it may write the identity map itself.
func selfMapped() isolation {
	all := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: idRange}}
	return isolation{mode: ModeRootless, attr: syscall.SysProcAttr{
		Cloneflags:                 rootlessFlags,
		UidMappings:                all,
		GidMappings:                all,
		GidMappingsEnableSetgroups: true,
	}}
}

// helperMapped is for an ordinary user: the set-uid helpers write the maps.
// https://man7.org/linux/man-pages/man1/newuidmap.1.html
func helperMapped(f machineFacts) isolation {
	uids, gids := widest(f.subUIDs), widest(f.subGIDs)
	return isolation{
		mode: ModeRootless,
		attr: syscall.SysProcAttr{Cloneflags: rootlessFlags},
		mapIDs: func(ctx context.Context, pid int) error {
			return errors.Join(
				runIDMap(ctx, "newuidmap", pid, os.Getuid(), uids),
				runIDMap(ctx, "newgidmap", pid, os.Getgid(), gids))
		},
	}
}

func runIDMap(ctx context.Context, command string, pid, own int, sub user.SubID) error {
	out, err := exec.CommandContext(ctx, command, idMapArgs(pid, own, sub)...).CombinedOutput() //nolint:gosec // one of two fixed names
	if err != nil {
		return fmt.Errorf("%s: %w: %s", command, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// idMapArgs maps root to the user itself and 1… to its subordinate ids.
func idMapArgs(pid, own int, sub user.SubID) []string {
	count := min(sub.Count, idRange-1)
	return []string{
		strconv.Itoa(pid), "0", strconv.Itoa(own), "1",
		"1", strconv.FormatInt(sub.SubID, 10), strconv.FormatInt(count, 10),
	}
}

func widest(ranges []user.SubID) user.SubID {
	var best user.SubID
	for _, r := range ranges {
		if r.Count > best.Count {
			best = r
		}
	}
	return best
}
