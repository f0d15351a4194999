package localenv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"slipway/plugin/autobuild"
)

// A Process is a process on this machine.
type Process struct {
	ID     int
	Parent int // process ID
	UID    uint32
	Args   []string
	// Dir is the working directory; empty if this user may not read it. In another mount namespace it
	// begins at the root of its mount: the directory of a runner is /BUILD-ATTEMPT.
	Dir string
}

// Processes returns all processes of this machine, without kernel threads.
func Processes() ([]Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var all []Process
	for _, entry := range entries {
		id, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if err != nil || len(line) == 0 {
			continue // it has ended, or is a kernel thread
		}
		dir, _ := os.Readlink(filepath.Join("/proc", entry.Name(), "cwd")) // it fails for another user's process
		args := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
		parent, uid, ok := status(id)
		if ok {
			all = append(all, Process{ID: id, Parent: parent, UID: uid, Args: args, Dir: dir})
		}
	}
	return all, nil
}

// status returns the parent and the effective user of a process; ok is false if it has ended.
// https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
func status(id int) (parent int, uid uint32, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", id))
	if err != nil {
		return 0, 0, false
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) > 1 && fields[0] == "PPid:":
			parent, _ = strconv.Atoi(fields[1])
		case len(fields) > 2 && fields[0] == "Uid:":
			number, _ := strconv.ParseUint(fields[2], 10, 32)
			uid = uint32(number)
		}
	}
	return parent, uid, true
}

// Workers returns the builder service, the runners, the builders and their children: all processes whose
// working directory or arguments are below the gateway's data directory, and their descendants.
func (env *Env) Workers() ([]Process, error) {
	all, err := Processes()
	workers := map[int]bool{}
	for found := -1; found != len(workers); {
		found = len(workers)
		for _, p := range all {
			isBelow := strings.HasPrefix(p.Dir, env.Gateway.Data)
			if isBelow || workers[p.Parent] || strings.Contains(strings.Join(p.Args, " "), env.Gateway.Data) {
				workers[p.ID] = true
			}
		}
	}
	return slices.DeleteFunc(all, func(p Process) bool { return !workers[p.ID] }), err
}

// Runner returns the embedded runner of an attempt; ok is false if it does not run.
func (env *Env) Runner(buildID string, attempt int) (p Process, ok bool, err error) {
	workers, err := env.Workers()
	name := fmt.Sprintf("%s-%d", buildID, attempt)
	i := slices.IndexFunc(workers, func(p Process) bool {
		return filepath.Base(p.Dir) == name && slices.Contains(p.Args, "runner")
	})
	if i < 0 {
		return Process{}, false, err
	}
	return workers[i], true, err
}

// KillRunner kills the embedded runner of an attempt with SIGKILL, as a crash does.
func (env *Env) KillRunner(ctx context.Context, a autobuild.Attempt) error {
	err := Wait(ctx, func() (bool, error) {
		runner, ok, err := env.Runner(a.BuildID, a.Number)
		return ok && syscall.Kill(runner.ID, syscall.SIGKILL) == nil, err
	})
	if err != nil {
		return fmt.Errorf("kill the runner of %s-%d: %w", a.BuildID, a.Number, err)
	}
	return nil
}

// Mounts returns the mount points below the environment's directory.
func (env *Env) Mounts() ([]string, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var mounts []string
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], env.Dir) {
			mounts = append(mounts, fields[4])
		}
	}
	return mounts, nil
}
