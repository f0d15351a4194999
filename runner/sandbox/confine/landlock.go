package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	landlocksys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// scopes denies signals to processes outside the domain, and connections to abstract sockets outside.
func scopes() landlock.Config { return landlock.Config{Scoped: landlock.V6.Scoped} }

// hookDomain is the domain of a hook: scopes and files. Newer kernels also deny connections to sockets
// with a path (version 9).
func hookDomain() landlock.Config {
	return landlock.Config{HandledAccessFS: landlock.V9.HandledAccessFS, Scoped: landlock.V9.Scoped}.BestEffort()
}

// enterDomain puts this thread, and the processes that it starts, into a new domain. It does not use
// Config.Restrict, which makes another domain for each thread: these could not signal each other.
func enterDomain(c landlock.Config, rules ...landlock.Rule) error {
	fd, flags, err := c.NewRulesetFD(rules...)
	if err != nil {
		return fmt.Errorf("make a Landlock domain: %w", err)
	}
	if fd < 0 {
		return nil // best effort, without Landlock
	}
	defer unix.Close(fd)
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	if err := landlocksys.LandlockRestrictSelf(fd, flags); err != nil {
		return fmt.Errorf("enter a Landlock domain: %w", err)
	}
	return nil
}

// hookRules returns the rules for the files that a hook may use. These are the programs of the machine,
// the hook's directories, and harmless devices. It is an allow list, because other files may hold
// secrets of the same user.
//
// /tmp is not in the list, because the step's own directory is below it. Of /proc, the list has only
// files about the machine. /proc/net/unix is not one of them, because it shows the step's sockets.
func hookRules(shared, environ []string) []landlock.Rule {
	readable := []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/sys"}
	return []landlock.Rule{
		landlock.RODirs(append(readable, searchPath(environ, shared)...)...).IgnoreIfMissing(),
		landlock.ROFiles(
			"/proc/cpuinfo", "/proc/filesystems", "/proc/loadavg", "/proc/meminfo",
			"/proc/stat", "/proc/uptime", "/proc/version",
		).IgnoreIfMissing(),
		landlock.RODirs("/proc/sys").IgnoreIfMissing(),
		landlock.RWFiles(
			"/dev/full", "/dev/null", "/dev/ptmx", "/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero",
		).WithIoctlDev().IgnoreIfMissing(),
		landlock.RWDirs("/dev/pts", "/dev/shm").WithIoctlDev().IgnoreIfMissing(),
		landlock.RWDirs(shared...).WithRefer(),
	}
}

// searchPath returns the directories of PATH, which may include unusual ones such as /go/bin. The first
// PATH is the step's. searchPath omits a directory that contains the step's files.
func searchPath(environ, shared []string) []string {
	i := slices.IndexFunc(environ, func(v string) bool { return strings.HasPrefix(v, pathPrefix) })
	if i < 0 {
		return nil
	}
	var dirs []string
	for _, dir := range filepath.SplitList(strings.TrimPrefix(environ[i], pathPrefix)) {
		isAbove := func(below string) bool {
			relative, err := filepath.Rel(dir, below)
			return err != nil || filepath.IsLocal(relative)
		}
		// The stage cannot make a rule for a directory of another user.
		if filepath.IsAbs(dir) && !slices.ContainsFunc(shared, isAbove) &&
			unix.Access(dir, unix.R_OK|unix.X_OK) == nil {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

const pathPrefix = "PATH="

// startEnter starts the stage enter, which executes the hook.
func (g *guard) startEnter() error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	orders, err := newPipe()
	if err != nil {
		return err
	}
	defer orders.read.Close()
	failures, err := newPipe()
	if err != nil {
		orders.write.Close()
		return err
	}
	defer failures.write.Close()
	g.failures = failures.read
	//nolint:gosec // this program itself
	g.hook, err = syscall.ForkExec("/proc/self/exe", os.Args, &syscall.ProcAttr{
		Dir:   "/",
		Env:   []string{},
		Files: []uintptr{null.Fd(), 1, 2, orders.read.Fd(), failures.write.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	go func() {
		defer orders.write.Close()
		o := g.order
		o.Enter = true
		_ = json.NewEncoder(orders.write).Encode(o) // the stage reports a short order
	}()
	if err != nil {
		return errors.New("start the stage enter: " + err.Error()) // an Errno would be that of the hook
	}
	return nil
}

// enter confines this process and executes the hook. It returns only if it fails.
func (o order) enter() report {
	if err := hideFromHook(); err != nil {
		return report{Problem: err.Error()}
	}
	if err := os.Chdir(o.Dir); err != nil {
		return report{Problem: err.Error()}
	}
	if err := limitProcesses(o.Processes); err != nil {
		return report{Problem: err.Error()}
	}
	if err := enterDomain(hookDomain(), hookRules(o.Shared, o.Environ)...); err != nil {
		return report{Problem: err.Error()}
	}
	err := syscall.Exec(o.File, []string{o.File}, o.Environ) //nolint:gosec // a hook of the repository, confined
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return report{Errno: errno}
	}
	return report{Problem: err.Error()}
}

// readFailure reads the report of the stage enter, which is empty if it executed the hook.
func (g *guard) readFailure() {
	if g.failures == nil {
		return
	}
	defer g.failures.Close()
	var failed report
	if err := json.NewDecoder(g.failures).Decode(&failed); err == nil {
		g.Problem, g.Errno = failed.Problem, failed.Errno
	}
}
