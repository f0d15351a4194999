// Package cgroup limits the memory, the processes and the processor time of groups of processes. It uses
// the kernel's cgroups (version 1 and 2).
//
// Its groups lie below one directory of each hierarchy:
//
//	/slipway                       of all processes of Slipway on this machine
//	/slipway/builder-1f3a9c2e      an Owner: all groups that one process made
//	/slipway/builder-1f3a9c2e/owner    that process
//	/slipway/builder-1f3a9c2e/run      a Group that it has made, with limits for all groups below
//
// The kernel removes no group by itself. So an Owner that was killed leaves its groups behind, and
// Tree.Sweep removes them.
//
// https://docs.kernel.org/admin-guide/cgroup-v1/cgroups.html,
// https://docs.kernel.org/admin-guide/cgroup-v2.html
package cgroup

import (
	"fmt"
	"strings"

	"slipway/config/size"
)

// The environment variables of the limits, which the messages name.
const (
	MemorySetting    = "SLIPWAY_BUILD_MEMORY"
	ProcessesSetting = "SLIPWAY_BUILD_PROCESSES"
	CPUsSetting      = "SLIPWAY_BUILD_CPUS"
)

// Limits are the limits of a group, including all groups below it. In each field 0 means no limit.
type Limits struct {
	Memory    int64   // bytes of memory and swap together
	Processes int64   // processes and threads
	CPUs      float64 // processor time, in processors: 1.5 = 1.5 s per second
	// Weight is the share of processor time if sibling groups compete for it. A group without a weight
	// has 100.
	Weight int
}

// String returns the limits for a log, for example "memory 4 GB, 4096 processes, 2 CPUs".
func (l Limits) String() string {
	var all []string
	if l.Memory > 0 {
		all = append(all, "memory "+size.Format(l.Memory))
	}
	if l.Processes > 0 {
		all = append(all, fmt.Sprintf("%d processes", l.Processes))
	}
	if l.CPUs > 0 {
		all = append(all, fmt.Sprintf("%.4g CPUs", l.CPUs))
	}
	if all == nil {
		return "no limits"
	}
	return strings.Join(all, ", ")
}

// Counters count how often processes met the limits of a group.
type Counters struct {
	OOMKills   int64 // processes that the kernel killed because memory was short
	FailedFork int64 // starts of processes and threads that failed
}

// Since returns the difference to earlier counters. A counter that became smaller, because groups
// below were removed, is counted from 0.
func (c Counters) Since(before Counters) Counters {
	since := func(now, before int64) int64 {
		if now < before {
			return now
		}
		return now - before
	}
	return Counters{
		OOMKills:   since(c.OOMKills, before.OOMKills),
		FailedFork: since(c.FailedFork, before.FailedFork),
	}
}

// The beginnings of the reasons that Counters.Reason returns.
const (
	OutOfMemory = "killed: out of memory"
	ForkFailed  = "fork failed"
)

// Reason returns the reason why a command in a group with these limits failed, with the setting that
// raises the limit. It returns "" if no limit was met.
func (c Counters) Reason(l Limits) string {
	switch {
	case c.OOMKills > 0 && l.Memory > 0:
		return fmt.Sprintf("%s, limit %s: %s", OutOfMemory, size.Format(l.Memory), MemorySetting)
	case c.OOMKills > 0:
		return OutOfMemory
	case c.FailedFork > 0 && l.Processes > 0:
		return fmt.Sprintf("%s, limit %d processes: %s", ForkFailed, l.Processes, ProcessesSetting)
	}
	return ""
}

// A NotHeldError reports the reason why this machine cannot enforce limits. Callers log it and continue
// without limits.
type NotHeldError struct {
	Reason string // for example "/sys/fs/cgroup/memory is mounted read-only"
	Fix    string // the fix for the operator; may be empty
	Err    error  // may be nil
}

// Error implements the interface error.
func (e *NotHeldError) Error() string {
	text := "cannot enforce limits: " + e.Reason
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	if e.Fix != "" {
		text += ": " + e.Fix
	}
	return text
}

// Unwrap returns the cause, or nil.
func (e *NotHeldError) Unwrap() error { return e.Err }
