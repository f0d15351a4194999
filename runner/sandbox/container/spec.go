package container

import (
	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"slipway/runner/sandbox/guest"
	"slipway/runner/sandbox/idmap"
	"slipway/runner/sandbox/rootfs"
)

// specVersion is the version of the runtime specification that runc 1.1 implements.
const specVersion = "1.0.2"

// capabilities returns the capabilities of BuildKit's RUN steps without CAP_NET_RAW. With a raw socket,
// a program could send packets that the packet filter's rules for connections do not see.
// https://github.com/moby/buildkit/blob/v0.34.2/util/entitlements/security/security_linux.go
func capabilities() []string {
	return []string{
		"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
		"CAP_NET_BIND_SERVICE", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
	}
}

// newSpec returns the configuration of runc for a sandbox. cgroup may be empty.
func newSpec(root string, ids idmap.IDs, network, cgroup string) (*specs.Spec, error) {
	all, core := capabilities(), coreLimit()
	s := &specs.Spec{
		Version:  specVersion,
		Hostname: "build",
		Root:     &specs.Root{Path: root},
		Process: &specs.Process{
			Args:            []string{rootfs.InitPath, guest.Argument},
			Cwd:             "/",
			NoNewPrivileges: true,
			Capabilities:    &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all},
			Rlimits:         []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Hard: core, Soft: core}},
		},
		Mounts: mounts(),
		Linux: &specs.Linux{
			Namespaces:    namespaces(network),
			UIDMappings:   mappings(ids),
			GIDMappings:   mappings(ids),
			CgroupsPath:   cgroup,
			MaskedPaths:   maskedPaths(),
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
			Resources:     &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}}},
		},
	}
	var err error
	s.Linux.Seccomp, err = seccomp.GetDefaultProfile(s) // it depends on the capabilities
	return s, err
}

// mounts returns Docker's mounts without /sys and the cgroup file system, which show the machine.
func mounts() []specs.Mount {
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{
			Destination: "/dev", Type: "tmpfs", Source: "tmpfs",
			Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"},
		},
		{
			Destination: "/dev/pts", Type: "devpts", Source: "devpts",
			Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"},
		},
		{
			Destination: "/dev/shm", Type: "tmpfs", Source: "shm",
			Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"},
		},
		{
			Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue",
			Options: []string{"nosuid", "noexec", "nodev"},
		},
	}
}

// namespaces returns all namespaces of a sandbox. A namespace without a path is a new one.
func namespaces(network string) []specs.LinuxNamespace {
	return []specs.LinuxNamespace{
		{Type: specs.UserNamespace},
		{Type: specs.PIDNamespace},
		{Type: specs.MountNamespace},
		{Type: specs.IPCNamespace},
		{Type: specs.UTSNamespace},
		{Type: specs.CgroupNamespace},
		{Type: specs.NetworkNamespace, Path: network},
	}
}

func mappings(ids idmap.IDs) []specs.LinuxIDMapping {
	return []specs.LinuxIDMapping{{
		ContainerID: 0,
		HostID:      uint32(ids.First), //nolint:gosec // G115: IDs are below 2^31
		Size:        uint32(ids.Count), //nolint:gosec // G115: at most 65536
	}}
}

// maskedPaths are files of /proc about the machine, not about the sandbox. They are Docker's.
// https://github.com/moby/moby/blob/v29.0.0/daemon/pkg/oci/defaults.go
func maskedPaths() []string {
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/key-users", "/proc/keys",
		"/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
	}
}
