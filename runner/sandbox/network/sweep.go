package network

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
)

// ownerAlias returns the alias of this process's uplinks. It names the process: its PID namespace, its
// ID there, and the time of its start, because the kernel reuses IDs.
func ownerAlias() string {
	pids, _ := os.Readlink("/proc/self/ns/pid")
	return fmt.Sprintf("slipway network of %s %d %s", pids, os.Getpid(), startTime(os.Getpid()))
}

// startTime returns the start of a process in clock ticks after the start of the machine, or "" if it
// has ended. It is field 22 of /proc/PID/stat. Source:
// https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
func startTime(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	fields := splitStat(stat)
	if len(fields) < 20 {
		return ""
	}
	return string(fields[19])
}

// splitStat returns the fields of /proc/PID/stat after the name, field 2, which may contain spaces and
// parentheses.
func splitStat(stat []byte) [][]byte { return bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) }

// hasOwner reports whether the process that an alias names runs. It returns true for a process of
// another PID namespace, because this process cannot see it.
func hasOwner(alias string) bool {
	var pids, start string
	var pid int
	if _, err := fmt.Sscanf(alias, "slipway network of %s %d %s", &pids, &pid, &start); err != nil {
		return true
	}
	ours, err := os.Readlink("/proc/self/ns/pid")
	return err != nil || pids != ours || startTime(pid) == start
}

// Sweep removes the uplinks of processes that were killed. The kernel removes an uplink with its router.
// But a router stays while an orphaned process is in one of its namespaces. Call it at the start of a
// process that is root of the machine.
func Sweep() error {
	host, err := openLinks()
	if err != nil {
		return err
	}
	defer host.close()
	all, err := host.handle.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	var errs []error
	for _, link := range all {
		attrs := link.Attrs()
		if strings.HasPrefix(attrs.Name, HostPrefix) && !hasOwner(attrs.Alias) {
			errs = append(errs, host.remove(attrs.Name))
		}
	}
	return errors.Join(errs...)
}
