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
	ID   int
	Args []string
	Dir  string // working directory; empty if this user may not read it
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
		all = append(all, Process{ID: id, Args: args, Dir: dir})
	}
	return all, nil
}

// Workers returns the runners, the builders and their children: all processes whose working
// directory or arguments are below the gateway's data directory.
func (env *Env) Workers() ([]Process, error) {
	all, err := Processes()
	return slices.DeleteFunc(all, func(p Process) bool {
		isBelow := strings.HasPrefix(p.Dir, env.Gateway.Data)
		return !isBelow && !strings.Contains(strings.Join(p.Args, " "), env.Gateway.Data)
	}), err
}

// KillRunner kills the embedded runner of an attempt with SIGKILL, as a crash does.
func (env *Env) KillRunner(ctx context.Context, a autobuild.Attempt) error {
	dir := filepath.Join(env.Gateway.Data, "work", fmt.Sprintf("%s-%d", a.BuildID, a.Number))
	err := Wait(ctx, func() (bool, error) {
		workers, err := env.Workers()
		if err != nil {
			return false, err
		}
		i := slices.IndexFunc(workers, func(p Process) bool {
			return p.Dir == dir && slices.Contains(p.Args, "runner")
		})
		return i >= 0 && syscall.Kill(workers[i].ID, syscall.SIGKILL) == nil, nil
	})
	if err != nil {
		return fmt.Errorf("kill the runner in %s: %w", dir, err)
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
