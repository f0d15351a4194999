package cgroup

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"slipway/config/size"
)

// The constants of Decide.
const (
	minReserve     = 512e6 // bytes for the kernel, the gateway and its database
	minMemory      = 256e6 // minimum bytes of a build, also on a small machine
	memoryStep     = 1e6   // bytes to which a default is rounded down
	maxProcesses   = 4096  // default of a build
	minProcesses   = 256
	minBuilder     = 512e6 // minimum bytes of the builder's own process
	buildingWeight = 50    // weight of builds; the builder's own process and the gateway have 100
)

// A Machine describes the resources that builds share.
type Machine struct {
	Memory  int64 // bytes of memory, or the limit of this container; 0 = unknown
	CPUs    int   // processors that this process may use
	Threads int64 // processes and threads that the kernel allows; 0 = unknown
}

// Settings are the limits of one build, as the operator sets them. In each field 0 means the default.
type Settings struct {
	Memory    int64   // bytes
	Processes int64   // processes and threads
	CPUs      float64 // processors
	Builds    int     // builds at once on the machine, which share its memory; 0 = 1
	Own       int     // builds at once on this builder; 0 = Builds
}

// A Decision holds the limits of a builder, and the reasons for them.
type Decision struct {
	Build   Limits // limits of each RUN step and each build hook
	All     Limits // limits of all RUN steps of a builder together
	Builder Limits // limits of the builder's own process, with the programs that it starts besides RUN steps
	Reasons []string
}

// Decide returns the limits for a machine. Without settings, concurrent builds share three quarters of
// the memory. A build may use all processors, but the gateway has precedence if processor time is short.
// It makes no system calls.
func Decide(m Machine, s Settings) Decision {
	builds := max(s.Builds, 1)
	d := Decision{Build: Limits{Weight: buildingWeight}}
	add := func(format string, args ...any) { d.Reasons = append(d.Reasons, fmt.Sprintf(format, args...)) }
	switch {
	case s.Memory > 0:
		d.Build.Memory = s.Memory
		add("memory %s: %s", size.Format(s.Memory), MemorySetting)
	case m.Memory > 0:
		reserve := max(m.Memory/4, minReserve)
		share := max((m.Memory-reserve)/int64(builds), minMemory)
		d.Build.Memory = share - share%memoryStep
		add("memory %s: the machine's %s without a reserve of %s, for %d builds at once",
			size.Format(d.Build.Memory), size.Format(m.Memory), size.Format(reserve), builds)
	default:
		add("memory without a limit: the machine's memory is unknown")
	}
	switch {
	case s.Processes > 0:
		d.Build.Processes = s.Processes
		add("%d processes: %s", s.Processes, ProcessesSetting)
	case m.Threads > 0:
		d.Build.Processes = min(maxProcesses, max(m.Threads/2/int64(builds), minProcesses))
		add("%d processes: the default, at most half of the kernel's %d for all builds", d.Build.Processes, m.Threads)
	default:
		d.Build.Processes = maxProcesses
		add("%d processes: the default", maxProcesses)
	}
	if s.CPUs > 0 {
		d.Build.CPUs = s.CPUs
		add("%.4g CPUs: %s", s.CPUs, CPUsSetting)
	} else {
		add("all %d CPUs: %s is not set", m.CPUs, CPUsSetting)
	}
	d.All = d.Build.times(cmp.Or(s.Own, builds))
	d.Builder = Limits{Processes: maxProcesses}
	if m.Memory > 0 {
		d.Builder.Memory = max(m.Memory/4, minBuilder)
	}
	return d
}

// times returns the limits of several groups together.
func (l Limits) times(n int) Limits {
	all := l
	all.Memory *= int64(n)
	all.Processes *= int64(n)
	all.CPUs *= float64(n)
	return all
}

// Machine reads the resources of this machine. In a container, the memory is at most the container's
// limit.
func (t *Tree) Machine() Machine {
	m := Machine{CPUs: runtime.NumCPU(), Memory: readTotal("/proc/meminfo")}
	limit := Group{tree: t, path: "/"}
	file := "memory.max"
	if t.version == 1 {
		file = "memory.limit_in_bytes"
	}
	if own := readNumber(filepath.Join(limit.dir("memory"), file)); own > 0 && (m.Memory == 0 || own < m.Memory) {
		m.Memory = own
	}
	for _, path := range []string{"/proc/sys/kernel/threads-max", "/proc/sys/kernel/pid_max"} {
		if n := readNumber(path); n > 0 && (m.Threads == 0 || n < m.Threads) {
			m.Threads = n
		}
	}
	return m
}

// readTotal returns the memory of the machine in bytes, or 0.
func readTotal(meminfo string) int64 {
	text, err := os.ReadFile(meminfo)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != "MemTotal:" {
			continue
		}
		if kib, err := strconv.ParseInt(fields[1], 10, 64); err == nil && kib < math.MaxInt64/1024 {
			return kib * 1024
		}
	}
	return 0
}

// readNumber returns the number in a kernel file, or 0 if the file has no number, for example "max".
func readNumber(path string) int64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
