package sandbox

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"
)

func TestPlanIsolation(t *testing.T) {
	ids := []user.SubID{{SubID: 5, Count: 10}, {SubID: 100000, Count: 65536}}
	ordinary := machineFacts{uid: 1000, newidmap: true, subUIDs: ids, subGIDs: ids}
	forbidden := func(f *machineFacts) { f.userNS = &exec.Error{Name: "true", Err: unix.EPERM} }
	for name, c := range map[string]struct {
		change func(*machineFacts)
		modes  string // of the candidates, in order; + = with shared PIDs
		why    string // there is no mode, or no better mode
		fix    string
	}{
		"root of the machine":           {func(f *machineFacts) { *f = machineFacts{admin: true, cgroups: true} }, ModePrivileged, "", ""},
		"root, may also map":            {func(f *machineFacts) { *f = machineFacts{admin: true, cgroups: true, setIDs: true} }, "privileged, user namespace, user namespace+", "", ""},
		"root of an existing namespace": {func(f *machineFacts) { *f = machineFacts{admin: true, nestedUser: true} }, "rootless, rootless+", "", ""},
		"CAP_SYS_ADMIN alone":           {func(f *machineFacts) { *f = machineFacts{admin: true, setIDs: true} }, "user namespace, user namespace+", "/sys/fs/cgroup is read-only", ""},
		"CAP_SYS_ADMIN and seccomp": {func(f *machineFacts) {
			*f = machineFacts{admin: true, setIDs: true, seccomp: true, keyring: unix.EPERM}
		}, "", "keyring, as runc does for RUN steps (operation not permitted)", "seccomp=unconfined"},
		"root in a container":       {func(f *machineFacts) { *f = machineFacts{setIDs: true} }, "user namespace, user namespace+", "", ""},
		"root without capabilities": {func(f *machineFacts) { *f = machineFacts{} }, "", "CAP_SETUID", "add both capabilities"},
		"confined by seccomp":       {func(f *machineFacts) { forbidden(f); f.seccomp = true }, "", "(operation not permitted)", "give the container security_opt seccomp=unconfined, or"},
		"confined by both":          {func(f *machineFacts) { forbidden(f); f.seccomp, f.apparmor = true, "docker-default (enforce)" }, "", "", "seccomp=unconfined and apparmor=unconfined"},
		"confined by the machine": {func(f *machineFacts) {
			forbidden(f)
			f.maxUserNS, f.unprivileged, f.apparmorForbids, f.apparmor = "0", "0", "1", "unconfined"
		}, "", "", "set sysctl user.max_user_namespaces=15000 and kernel.unprivileged_userns_clone=1 and kernel.apparmor_restrict_unprivileged_userns=0 on the machine, or run it in a privileged container"},
		"confined by something else": {forbidden, "", "", "run it as root of the machine, or in a privileged container"},
		"ordinary user":              {func(*machineFacts) {}, "rootless, rootless+", "", ""},
		"no helpers":                 {func(f *machineFacts) { f.newidmap = false }, "", "newuidmap", "apt-get install uidmap"},
		"no subordinate ids":         {func(f *machineFacts) { f.subUIDs = nil }, "", "user 1000 has no", "/etc/subuid"},
		"few subordinate group":      {func(f *machineFacts) { f.subGIDs = ids[:1] }, "", "", "/etc/subgid"},
	} {
		facts := ordinary
		c.change(&facts)
		plan := planIsolation(facts)
		if got := modes(plan.candidates); got != c.modes {
			t.Errorf("%s: got modes %q, want %q", name, got, c.modes)
		}
		if got := plan.why(); !strings.Contains(got, c.why) {
			t.Errorf("%s: got reasons %q, want %q in them", name, got, c.why)
		}
		if !strings.Contains(plan.fix, c.fix) {
			t.Errorf("%s: got fix %q, want %q in it", name, plan.fix, c.fix)
		}
		f := probeMode(plan)
		if want := c.modes != ""; f.OK != want {
			t.Errorf("%s: finding %+v: got OK %t, want %t", name, f, f.OK, want)
		}
		if f.OK == (f.Fix != "") {
			t.Errorf("%s: finding %+v: got OK %t, fix %q, want a fix only if it is not OK", name, f, f.OK, f.Fix)
		}
		if f.Detail == "" {
			t.Errorf("%s: finding %+v: got no detail, want one", name, f)
		}
	}
}

// modes returns the modes of isolations. It also checks that only isolations with shared PIDs lack a PID
// namespace of their own.
func modes(ways []isolation) string {
	var all []string
	for _, way := range ways {
		mode := way.mode
		if way.sharedPIDs {
			mode += "+"
		}
		if (way.attr.Cloneflags&syscall.CLONE_NEWPID == 0) != way.sharedPIDs ||
			way.attr.Cloneflags&syscall.CLONE_NEWNS == 0 {
			mode += " in the wrong namespaces"
		}
		all = append(all, mode)
	}
	return strings.Join(all, ", ")
}

func TestCgroupsAreWritableIfEachMountIs(t *testing.T) {
	const (
		rest = "25 1 0:23 / /dev rw,nosuid - devtmpfs udev rw,size=8k\n"
		two  = "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
		v1   = "36 24 0:31 /docker/x /sys/fs/cgroup/memory rw,nosuid master:11 - cgroup cgroup rw,memory\n"
		v1ro = "37 24 0:32 /docker/x /sys/fs/cgroup/cpu ro,nosuid master:12 - cgroup cgroup rw,cpu\n"
	)
	for mountinfo, want := range map[string]bool{
		"": false, rest: false, rest + two: true, v1 + two: true, v1 + v1ro: false, v1ro: false,
		strings.Replace(two, "rw,nosuid", "ro", 1): false, "nonsense - cgroup": false,
	} {
		if got := cgroupsWritable(mountinfo); got != want {
			t.Errorf("%q: got %t, want %t", mountinfo, got, want)
		}
	}
}

func TestIdentityMapUsesOnlyMappedIDs(t *testing.T) {
	for uidMap, want := range map[string][]syscall.SysProcIDMap{
		"         0          0 4294967295\n": {{ContainerID: 0, HostID: 0, Size: 65536}},
		"0 100000 65536\n":                   {{ContainerID: 0, HostID: 0, Size: 65536}},
		"0 1000 1\n1 100000 65536\n":         {{ContainerID: 0, HostID: 0, Size: 1}, {ContainerID: 1, HostID: 1, Size: 65535}},
		"0 0 1000\n70000 0 1000\n":           {{ContainerID: 0, HostID: 0, Size: 1000}},
		"":                                   nil,
		"x y z\n":                            nil,
	} {
		if diff := cmp.Diff(want, identityMap(uidMap)); diff != "" {
			t.Errorf("map of %q (-want +got):\n%s", uidMap, diff)
		}
	}
}

func TestParseProcessStatus(t *testing.T) {
	status := "Name:\tx\nCapEff:\t00000000a80425fb\nSeccomp:\t2\nSeccomp_filters:\t1\n"
	caps := effectiveCaps(status)
	if caps&(1<<unix.CAP_SETUID) == 0 {
		t.Errorf("got capabilities %x, want CAP_SETUID in them", caps)
	}
	if caps&(1<<unix.CAP_SYS_ADMIN) != 0 {
		t.Errorf("got capabilities %x, want no CAP_SYS_ADMIN", caps)
	}
	if got := statusField(status, "Seccomp"); got != "2" {
		t.Errorf("Seccomp: got %q, want 2", got)
	}
	if effectiveCaps("") != 0 || effectiveCaps("CapEff:\tzz\n") != 0 {
		t.Error("empty status: got capabilities, want none")
	}
}

func TestNetworkOfAStepsBuilder(t *testing.T) {
	for container, want := range map[bool]string{true: NetworkStep, false: NetworkAuto} {
		if got := defaultNetwork(container); got != want {
			t.Errorf("in a container %t: got network %s, want %s", container, got, want)
		}
	}
	if c := childConfig([]string{"SLIPWAY_BUILDER_NETWORK=none"}); c.Network != NetworkNone {
		t.Errorf("got network %s, want the configured one", c.Network)
	}
}
