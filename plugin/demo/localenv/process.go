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

// A Process is one of this machine's processes.
type Process struct {
	ID   int
	Args []string
	Dir  string // its working directory; empty when it is not ours to see
}

// Processes lists all processes of this machine.
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
			continue // it ended, or is the kernel's
		}
		dir, _ := os.Readlink(filepath.Join("/proc", entry.Name(), "cwd")) // another user's is hidden
		all = append(
			all,
			Process{ID: id, Args: strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00"), Dir: dir},
		)
	}
	return all, nil
}

// Workers lists the runners, builders and their children: the processes that work below
// the gateway's data directory or name it.
func (w *Env) Workers() ([]Process, error) {
	all, err := Processes()
	return slices.DeleteFunc(all, func(p Process) bool {
		return !strings.HasPrefix(p.Dir, w.Gateway.Data) && !strings.Contains(strings.Join(p.Args, " "), w.Gateway.Data)
	}), err
}

// KillRunner kills the embedded runner of an attempt at once, as a crash would.
func (w *Env) KillRunner(ctx context.Context, a autobuild.Attempt) error {
	dir := filepath.Join(w.Gateway.Data, "work", fmt.Sprintf("%s-%d", a.BuildID, a.Number))
	err := wait(ctx, func() (bool, error) {
		workers, err := w.Workers()
		if err != nil {
			return false, err
		}
		i := slices.IndexFunc(
			workers,
			func(p Process) bool { return p.Dir == dir && slices.Contains(p.Args, "runner") },
		)
		return i >= 0 && syscall.Kill(workers[i].ID, syscall.SIGKILL) == nil, nil
	})
	if err != nil {
		return fmt.Errorf("kill the runner in %s: %w", dir, err)
	}
	return nil
}

// Mounts lists what is mounted below the world's directory.
func (w *Env) Mounts() ([]string, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var mounts []string
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], w.Dir) {
			mounts = append(mounts, fields[4])
		}
	}
	return mounts, nil
}

// Wait looks until met, an error, or the end of ctx.
func Wait(ctx context.Context, met func() (bool, error)) error { return wait(ctx, met) }
