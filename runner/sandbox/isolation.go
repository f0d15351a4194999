package sandbox

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
)

// The modes in which a server can run.
const (
	ModePrivileged = "privileged"     // root that can mount: of the machine, or of a privileged container
	ModeUserNS     = "user namespace" // root of a container, in a new user namespace with the same ids
	ModeRootless   = "rootless"       // ordinary user with subordinate ids, or root of an existing user namespace
	ModeNone       = "none"           // BuildKit cannot mount here
)

// An isolation describes how a server is isolated from the machine.
type isolation struct {
	mode string
	attr syscall.SysProcAttr
	// sharedPIDs means that the server has no PID namespace and no /proc of its own. It is for
	// containers with a masked /proc, where the kernel refuses to mount an unmasked /proc in a user
	// namespace.
	sharedPIDs bool
	// mapIDs writes the id maps of the user namespace from outside, if the process cannot write them
	// itself. It is nil if attr contains the maps, or without a new user namespace.
	mapIDs func(ctx context.Context, pid int) error
}

// String returns the mode as text for the step's log.
func (i isolation) String() string {
	text := i.mode
	if i.mode == ModeUserNS {
		text = "in a user namespace of its own"
	}
	if i.sharedPIDs {
		text += "; /proc is masked here, so RUN steps see the step's processes"
	}
	return text
}

const (
	rootFlags     = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID
	rootlessFlags = rootFlags | syscall.CLONE_NEWUSER
	idRange       = 65536 // number of ids that images may use
)

// An isolationPlan lists the isolations that may work here, the best one first, and the reasons
// against others. Only an attempt shows whether one really works.
type isolationPlan struct {
	candidates []isolation
	reasons    []string // reasons why candidates were omitted or failed
	fix        string   // the setting that would allow a candidate
}

// why returns the reasons against this plan or a better one, in one line.
func (p isolationPlan) why() string { return strings.Join(p.reasons, "; ") }

func (f machineFacts) mayBePrivileged() bool {
	return f.uid == 0 && f.admin && (f.cgroups || f.nestedUser)
}

// planIsolation returns the isolations that may work on a machine. It makes no system calls.
func planIsolation(f machineFacts) isolationPlan {
	plan := isolationPlan{fix: fixFor(f)}
	none := func(why string) isolationPlan {
		plan.reasons = append(plan.reasons, why)
		return plan
	}
	switch {
	case f.keyring != nil && f.userNS == nil:
		return none(fmt.Sprintf("this process may not use the kernel's keyring, as runc does for RUN steps (%v)",
			errnoOf(f.keyring)))
	case f.mayBePrivileged():
		candidate := isolation{mode: ModePrivileged, attr: syscall.SysProcAttr{Cloneflags: rootFlags}}
		if f.nestedUser {
			candidate.mode = ModeRootless
			plan.candidates = withSharedPIDs(candidate)
			return plan
		}
		plan.candidates = []isolation{candidate}
		if !f.setIDs {
			return plan
		}
	case f.uid == 0 && f.admin:
		plan.reasons = append(
			plan.reasons,
			"this is root with CAP_SYS_ADMIN, but /sys/fs/cgroup is read-only, and RUN steps need cgroups there",
		)
	}
	switch {
	case f.userNS != nil:
		return none(fmt.Sprintf("this process may neither mount nor make a user namespace (%v)", errnoOf(f.userNS)))
	case f.uid == 0 && f.setIDs:
		plan.candidates = append(plan.candidates, withSharedPIDs(selfMapped(f.uids, f.gids))...)
	case f.uid == 0:
		plan.fix = "add both capabilities to the container"
		return none("root without CAP_SETUID and CAP_SETGID cannot map users")
	case !f.newidmap:
		plan.fix = "apt-get install uidmap, or run it as root"
		return none("an ordinary user needs newuidmap and newgidmap, which are not installed")
	case widest(f.subUIDs).Count < idRange || widest(f.subGIDs).Count < idRange:
		plan.fix = "add a line USER:100000:65536 to /etc/subuid and /etc/subgid, or run it as root"
		return none(fmt.Sprintf("user %d has no 65536 subordinate ids", f.uid))
	default:
		plan.candidates = withSharedPIDs(helperMapped(f))
	}
	return plan
}

// fixFor returns the settings to change so that mounts are allowed, as far as they are known.
func fixFor(f machineFacts) string {
	var options, sysctls []string
	if f.seccomp {
		options = append(options, "seccomp=unconfined")
	}
	if f.apparmor != "" && f.apparmor != "unconfined" {
		options = append(options, "apparmor=unconfined")
	}
	if f.maxUserNS == "0" {
		sysctls = append(sysctls, "user.max_user_namespaces=15000")
	}
	if f.unprivileged == "0" {
		sysctls = append(sysctls, "kernel.unprivileged_userns_clone=1")
	}
	if f.apparmorForbids == "1" {
		sysctls = append(sysctls, "kernel.apparmor_restrict_unprivileged_userns=0")
	}
	var fixes []string
	if options != nil {
		fixes = append(fixes, "give the container security_opt "+strings.Join(options, " and "))
	}
	if sysctls != nil {
		fixes = append(fixes, "set sysctl "+strings.Join(sysctls, " and ")+" on the machine")
	}
	if fixes == nil {
		return "run it as root of the machine, or in a privileged container"
	}
	return strings.Join(fixes, ", and ") + ", or run it in a privileged container"
}

// errnoOf returns the error number in an error, without the name of the program, or the error itself.
func errnoOf(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}

// withSharedPIDs returns an isolation, and the same one without its own /proc for a masked /proc.
func withSharedPIDs(candidate isolation) []isolation {
	shared := candidate
	shared.sharedPIDs = true
	shared.attr.Cloneflags &^= syscall.CLONE_NEWPID
	return []isolation{candidate, shared}
}

// selfMapped returns the isolation for root in a container, which can write the identity map itself.
func selfMapped(uids, gids []syscall.SysProcIDMap) isolation {
	return isolation{mode: ModeUserNS, attr: syscall.SysProcAttr{
		Cloneflags:                 rootlessFlags,
		UidMappings:                uids,
		GidMappings:                gids,
		GidMappingsEnableSetgroups: true,
	}}
}

// helperMapped returns the isolation for an ordinary user. The set-uid helpers newuidmap and newgidmap
// write the maps.
// https://man7.org/linux/man-pages/man1/newuidmap.1.html
func helperMapped(f machineFacts) isolation {
	uids, gids := widest(f.subUIDs), widest(f.subGIDs)
	return isolation{
		mode: ModeRootless,
		attr: syscall.SysProcAttr{Cloneflags: rootlessFlags},
		mapIDs: func(ctx context.Context, pid int) error {
			if err := runIDMap(ctx, "newuidmap", pid, os.Getuid(), uids); err != nil {
				return err
			}
			return runIDMap(ctx, "newgidmap", pid, os.Getgid(), gids)
		},
	}
}

func runIDMap(ctx context.Context, command string, pid, own int, sub user.SubID) error {
	//nolint:gosec // one of two fixed names
	out, err := exec.CommandContext(ctx, command, idMapArgs(pid, own, sub)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.Join(strings.Fields(string(out)), " "))
	}
	return nil
}

// idMapArgs returns the arguments of newuidmap and newgidmap. They map root to the user (own), and the
// ids from 1 to the user's subordinate ids.
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
