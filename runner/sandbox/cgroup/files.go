package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	procs     = "cgroup.procs"
	cpuPeriod = 100_000 // microseconds, the kernel's default
	minQuota  = 1_000   // microseconds, the kernel's minimum
)

// A setting is a file of a group and the value to write.
type setting struct {
	controller string
	file       string
	value      string
	optional   bool // some kernels do not have the file: without swap accounting
}

// settings returns the files that hold limits, in the order in which they must be written to a new
// group.
func settings(version int, l Limits) []setting {
	if version == 1 {
		return settingsV1(l)
	}
	return settingsV2(l)
}

func settingsV1(l Limits) (all []setting) {
	if l.Memory > 0 {
		memory := strconv.FormatInt(l.Memory, 10)
		all = append(all,
			setting{controller: "memory", file: "memory.limit_in_bytes", value: memory},
			setting{controller: "memory", file: "memory.memsw.limit_in_bytes", value: memory, optional: true})
	}
	if l.Processes > 0 {
		all = append(all, setting{controller: "pids", file: "pids.max", value: strconv.FormatInt(l.Processes, 10)})
	}
	if l.CPUs > 0 {
		all = append(all,
			setting{controller: "cpu", file: "cpu.cfs_period_us", value: strconv.Itoa(cpuPeriod)},
			setting{controller: "cpu", file: "cpu.cfs_quota_us", value: strconv.Itoa(quota(l.CPUs))})
	}
	if l.Weight > 0 {
		shares := strconv.Itoa(max(2, l.Weight*1024/100)) // 1024 is the default, 2 the minimum
		all = append(all, setting{controller: "cpu", file: "cpu.shares", value: shares})
	}
	return all
}

func settingsV2(l Limits) (all []setting) {
	if l.Memory > 0 {
		all = append(all,
			setting{controller: "memory", file: "memory.max", value: strconv.FormatInt(l.Memory, 10)},
			setting{controller: "memory", file: "memory.swap.max", value: "0", optional: true})
	}
	if l.Processes > 0 {
		all = append(all, setting{controller: "pids", file: "pids.max", value: strconv.FormatInt(l.Processes, 10)})
	}
	if l.CPUs > 0 {
		value := fmt.Sprintf("%d %d", quota(l.CPUs), cpuPeriod)
		all = append(all, setting{controller: "cpu", file: "cpu.max", value: value})
	}
	if l.Weight > 0 {
		all = append(all, setting{controller: "cpu", file: "cpu.weight", value: strconv.Itoa(l.Weight)})
	}
	return all
}

// quota returns the microseconds of processor time in each cpuPeriod.
func quota(cpus float64) int { return max(minQuota, int(cpus*cpuPeriod)) }

// readCount returns the number after a word in a file of lines "word number". It returns 0 if the file
// or the line does not exist: the group was removed, or the kernel does not count this.
func readCount(path, word string) int64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 2 || fields[0] != word {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		if err == nil {
			return n
		}
	}
	return 0
}

// readPIDs returns the processes in a group itself. A process outside the PID namespace of the caller
// is absent.
func readPIDs(dir string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(dir, procs))
	if err != nil {
		return nil, fmt.Errorf("read the processes of a cgroup: %w", err)
	}
	var pids []string
	for _, pid := range strings.Fields(string(text)) {
		if pid != "0" { // version 2 writes 0 for a process outside the PID namespace
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// subdirs returns the directories in a directory. It returns none if the directory does not exist.
func subdirs(dir string) (all []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			all = append(all, filepath.Join(dir, e.Name()))
		}
	}
	return all
}
