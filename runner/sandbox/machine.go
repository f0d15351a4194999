package sandbox

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/sys/user"
	"github.com/moby/sys/userns"
	"golang.org/x/sys/unix"

	"slipway/runner/sandbox/crashsafe"
)

// machineFacts describes the process and its machine for planIsolation.
type machineFacts struct {
	uid        int
	admin      bool                   // this process has CAP_SYS_ADMIN
	setIDs     bool                   // this process has CAP_SETUID and CAP_SETGID
	seccomp    bool                   // a seccomp filter is active
	apparmor   string                 // AppArmor profile; empty = none
	cgroups    bool                   // /sys/fs/cgroup is writable, so runc can create cgroups
	keyring    error                  // error of an attempt to use the kernel's keyring
	nestedUser bool                   // this process is in a user namespace
	uids, gids []syscall.SysProcIDMap // existing ids, each mapped to itself

	userNS          error  // error of an attempt to create a user namespace
	maxUserNS       string // values of sysctls that can forbid user namespaces; empty = no such sysctl
	unprivileged    string
	apparmorForbids string

	subUIDs, subGIDs []user.SubID
	newidmap         bool // newuidmap and newgidmap are installed
}

func readMachine() machineFacts {
	status := readFile("/proc/self/status")
	caps := effectiveCaps(status)
	f := machineFacts{
		uid:        os.Geteuid(),
		admin:      caps&(1<<unix.CAP_SYS_ADMIN) != 0,
		setIDs:     caps&(1<<unix.CAP_SETUID) != 0 && caps&(1<<unix.CAP_SETGID) != 0,
		seccomp:    statusField(status, "Seccomp") == "2",
		apparmor:   strings.Trim(readFile("/proc/self/attr/apparmor/current"), "\x00\n"),
		cgroups:    cgroupsWritable(readFile("/proc/self/mountinfo")),
		keyring:    tryKeyring(),
		nestedUser: userns.RunningInUserNS(),
		uids:       identityMap(readFile("/proc/self/uid_map")),
		gids:       identityMap(readFile("/proc/self/gid_map")),
	}
	if f.mayBePrivileged() {
		return f
	}
	f.userNS = tryUserNS()
	f.maxUserNS = strings.TrimSpace(readFile("/proc/sys/user/max_user_namespaces"))
	f.unprivileged = strings.TrimSpace(readFile("/proc/sys/kernel/unprivileged_userns_clone"))
	f.apparmorForbids = strings.TrimSpace(readFile("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"))
	f.subUIDs, _ = user.CurrentUserSubUIDs()
	f.subGIDs, _ = user.CurrentUserSubGIDs()
	_, errU := exec.LookPath("newuidmap")
	_, errG := exec.LookPath("newgidmap")
	f.newidmap = errU == nil && errG == nil
	return f
}

// readFile returns the content of a kernel file, or "" if it does not exist.
func readFile(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(text)
}

func statusField(status, name string) string {
	for line := range strings.Lines(status) {
		if text, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(text)
		}
	}
	return ""
}

func effectiveCaps(status string) uint64 {
	caps, _ := strconv.ParseUint(statusField(status, "CapEff"), 16, 64)
	return caps
}

// cgroupsWritable reports whether a mountinfo has all cgroup hierarchies mounted writable. Docker does
// this only for privileged containers.
// https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
func cgroupsWritable(mountinfo string) bool {
	found := false
	for line := range strings.Lines(mountinfo) {
		mount, source, ok := strings.Cut(line, " - ")
		if fields := strings.Fields(mount); ok && len(fields) > 5 && strings.HasPrefix(source, "cgroup") {
			found = true
			if strings.HasPrefix(fields[5]+",", "ro,") {
				return false
			}
		}
	}
	return found
}

// identityMap returns a map of each id in a uid_map to itself. It has one range for each range of the
// uid_map, because a range must lie inside one range of the parent namespace.
// https://man7.org/linux/man-pages/man7/user_namespaces.7.html
func identityMap(uidMap string) (ids []syscall.SysProcIDMap) {
	for line := range strings.Lines(uidMap) {
		var numbers []int
		for _, text := range strings.Fields(line) {
			number, err := strconv.Atoi(text)
			if err != nil {
				return ids
			}
			numbers = append(numbers, number)
		}
		if len(numbers) != 3 || numbers[0] >= idRange {
			continue
		}
		size := min(numbers[2], idRange-numbers[0])
		ids = append(ids, syscall.SysProcIDMap{ContainerID: numbers[0], HostID: numbers[0], Size: size})
	}
	return ids
}

// tryUserNS starts the program true in a new user namespace, and returns the error.
func tryUserNS() error {
	cmd := exec.CommandContext(context.Background(), "true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS}
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return nil // unknown; the start of the builder shows it
	}
	return err
}

// tryKeyring makes the keyring call with which runc starts each container. Docker's default seccomp
// profile forbids the call, even with CAP_SYS_ADMIN. It returns nil for a kernel without keyrings,
// because runc works there.
func tryKeyring() error {
	if _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false); errors.Is(err, unix.EPERM) {
		return err
	}
	return nil
}

// Privileged reports whether this process is root of the machine, and not only of a user namespace.
func Privileged() bool {
	return os.Geteuid() == 0 && !userns.RunningInUserNS()
}

// initialPIDs is the link target of /proc/self/ns/pid in the machine's initial PID namespace.
// https://github.com/torvalds/linux/blob/master/include/uapi/linux/nsfs.h (PID_NS_INIT_INO)
const initialPIDs = "pid:[4026531836]"

// ThisMachine returns the machine of this process, for the record of a builder's state. Call it outside the
// namespaces of a builder.
func ThisMachine() crashsafe.Machine { return crashsafe.ReadMachine(inContainer()) }

// inContainer reports whether this process is in a container: it is not in the initial PID namespace.
func inContainer() bool {
	pids, err := os.Readlink("/proc/self/ns/pid")
	return err == nil && pids != initialPIDs
}
