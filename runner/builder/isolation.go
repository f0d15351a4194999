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
)

// The ways in which a server can run.
const (
	ModePrivileged = "privileged"     // as root that may mount: of the machine, or of a privileged container
	ModeUserNS     = "user namespace" // as root of a container, in a user namespace of its own with the same ids
	ModeRootless   = "rootless"       // as an ordinary user with subordinate ids, or in the user namespace of somebody else
	ModeNone       = "none"           // BuildKit cannot mount here
)

// An isolation is how a server is set apart from the machine.
type isolation struct {
	mode string
	attr syscall.SysProcAttr
	// sharedPIDs: it has no PID namespace and no /proc of its own. That is for containers whose
	// /proc is masked: a user namespace may not mount what would show more of it.
	sharedPIDs bool
	// mapIDs writes the user namespace's maps from outside, where the process itself may
	// not; nil = the kernel was given them in attr, or there are none.
	mapIDs func(ctx context.Context, pid int) error
}

// String says the mode as a step's log does.
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
	idRange       = 65536 // ids that images may use
)

// An isolationPlan is every way that may do, the best one first, and why not the others.
// Whether one really does shows when it is tried.
type isolationPlan struct {
	ways    []isolation
	against []string // why better ways were left out, or failed; without any way, why there is none
	mend    string   // the setting that would allow one
}

// why is what is against this plan, or a better one, in one line.
func (p isolationPlan) why() string { return strings.Join(p.against, "; ") }

func (f machineFacts) mayBePrivileged() bool {
	return f.uid == 0 && f.admin && (f.cgroups || f.nestedUser)
}

// planIsolation decides how a server may run here.
func planIsolation(f machineFacts) isolationPlan {
	plan := isolationPlan{mend: mendOf(f)}
	none := func(why string) isolationPlan {
		plan.against = append(plan.against, why)
		return plan
	}
	switch {
	case f.keyring != nil && f.userNS == nil:
		return none(fmt.Sprintf("this process may not use the kernel's keyring, as runc does for RUN steps (%v)", innermost(f.keyring)))
	case f.mayBePrivileged():
		way := isolation{mode: ModePrivileged, attr: syscall.SysProcAttr{Cloneflags: rootFlags}}
		if f.nestedUser {
			way.mode = ModeRootless
			plan.ways = withSharedPIDs(way)
			return plan
		}
		plan.ways = []isolation{way}
		if !f.setIDs {
			return plan
		}
	case f.uid == 0 && f.admin:
		plan.against = append(plan.against, "this is root with CAP_SYS_ADMIN, but /sys/fs/cgroup is read-only, and RUN steps need cgroups there")
	}
	switch {
	case f.userNS != nil:
		return none(fmt.Sprintf("this process may neither mount nor make a user namespace (%v)", innermost(f.userNS)))
	case f.uid == 0 && f.setIDs:
		plan.ways = append(plan.ways, withSharedPIDs(selfMapped(f.uids, f.gids))...)
	case f.uid == 0:
		plan.mend = "add both capabilities to the container"
		return none("root without CAP_SETUID and CAP_SETGID cannot map users")
	case !f.newidmap:
		plan.mend = "apt-get install uidmap, or run it as root"
		return none("an ordinary user needs newuidmap and newgidmap, which are not installed")
	case widest(f.subUIDs).Count < idRange || widest(f.subGIDs).Count < idRange:
		plan.mend = "add a line USER:100000:65536 to /etc/subuid and /etc/subgid, or run it as root"
		return none(fmt.Sprintf("user %d has no 65536 subordinate ids", f.uid))
	default:
		plan.ways = withSharedPIDs(helperMapped(f))
	}
	return plan
}

// mendOf names what forbids mounts here, as far as it shows.
func mendOf(f machineFacts) string {
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
	var mend []string
	if options != nil {
		mend = append(mend, "give the container security_opt "+strings.Join(options, " and "))
	}
	if sysctls != nil {
		mend = append(mend, "set sysctl "+strings.Join(sysctls, " and ")+" on the machine")
	}
	if mend == nil {
		return "run it as root of the machine, or in a privileged container"
	}
	return strings.Join(mend, ", and ") + ", or run it in a privileged container"
}

// innermost drops which program an error is of.
func innermost(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}

// withSharedPIDs is a way and, for where /proc is masked, the same without a /proc of its own.
func withSharedPIDs(way isolation) []isolation {
	shared := way
	shared.sharedPIDs = true
	shared.attr.Cloneflags &^= syscall.CLONE_NEWPID
	return []isolation{way, shared}
}

// selfMapped is for root in a container: it may write the identity map itself.
func selfMapped(uids, gids []syscall.SysProcIDMap) isolation {
	return isolation{mode: ModeUserNS, attr: syscall.SysProcAttr{
		Cloneflags:                 rootlessFlags,
		UidMappings:                uids,
		GidMappings:                gids,
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
			if err := runIDMap(ctx, "newuidmap", pid, os.Getuid(), uids); err != nil {
				return err
			}
			return runIDMap(ctx, "newgidmap", pid, os.Getgid(), gids)
		},
	}
}

func runIDMap(ctx context.Context, command string, pid, own int, sub user.SubID) error {
	out, err := exec.CommandContext(ctx, command, idMapArgs(pid, own, sub)...).CombinedOutput() //nolint:gosec // one of two fixed names
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.Join(strings.Fields(string(out)), " "))
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
