package confine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipway/config/must"
	"slipway/runner/buildhooks"
	"slipway/runner/sandbox/confine"
	"slipway/runner/sandbox/sandboxtest"
)

// The test binary is also the programs of these tests, by its first argument.
const (
	asGuard   = "guard"       // the guard of a sandbox
	asStep    = "step"        // a step that runs one hook
	asConnect = "connect"     // connects to a socket
	asFiles   = "descriptors" // prints its open descriptors
)

func TestMain(m *testing.M) {
	switch os.Args[min(1, len(os.Args)-1)] {
	case asGuard:
		os.Exit(confine.Main())
	case asStep:
		os.Exit(stepMain())
	case asConnect:
		os.Exit(connectMain(os.Args[2]))
	case asFiles:
		os.Exit(descriptorsMain())
	}
	os.Exit(sandboxtest.Main(m))
}

// ordinary is the id of a user without rights.
const ordinary = 61234

// A step is a step with one hook.
type step struct {
	UID       int
	Hook      string // the script
	Processes uint64
	StopAfter time.Duration // 0 = the step does not stop the hook
	Grace     time.Duration
	KillGuard bool // kills the guard while the hook runs
	Crash     bool // kills the step while the hook runs
	// Unconfined runs the hook without a sandbox.
	Unconfined bool
}

// A result is the output of a step.
type result struct {
	Level  string
	Output string // of the hook
	Error  string // of Execute
	Code   int    // exit code of the hook, or -1
	Took   time.Duration
	Read   string // content of the file "made" in the workspace
	Remove string // error of the removal of the workspace
	Left   []string
}

// canary is in everything that the hook must not get.
const canary = "CANARY-of-the-step"

// run runs the step as a process of its own, with a secret in its environment.
func (s step) run(t *testing.T) result {
	t.Helper()
	out, err := s.output(t)
	if err != nil {
		t.Fatalf("step: %v\n%s", err, out)
	}
	var r result
	must.Succeed(t, json.Unmarshal(out, &r))
	t.Logf("%s, in %s:\n%s%s", r.Level, r.Took, r.Output, r.Error)
	return r
}

// output returns the output of the step's process.
func (s step) output(t *testing.T) ([]byte, error) {
	t.Helper()
	sandboxtest.NeedRoot(t)
	dir := t.TempDir()
	for up := dir; up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
		must.Succeed(t, os.Chmod(up, 0o755))
	}
	must.Succeed(t, os.Chown(dir, s.UID, s.UID))
	given, err := json.Marshal(s)
	must.Succeed(t, err)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", asStep, dir)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "SECRET=" + canary}
	cmd.Stdin = bytes.NewReader(given)
	inherited, err := os.Open("/dev/null")
	must.Succeed(t, err)
	defer inherited.Close()
	cmd.ExtraFiles = []*os.File{inherited} // as a careless parent leaves open
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(s.UID), Gid: uint32(s.UID)}}
	cmd.Stderr = os.Stderr
	return cmd.Output()
}

// stepMain is the process of a step. Its directory holds a secret file, a socket and the workspace.
func stepMain() int {
	var s step
	err := json.NewDecoder(os.Stdin).Decode(&s)
	if err == nil {
		var r result
		r, err = s.work(os.Args[2])
		if err == nil {
			err = json.NewEncoder(os.Stdout).Encode(r)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (s step) work(dir string) (r result, err error) {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return r, err
	}
	own := filepath.Join(dir, "own") // as the directory of an attempt
	work := filepath.Join(own, "work")
	if err := os.MkdirAll(work, 0o700); err != nil {
		return r, err
	}
	stop, err := openSecrets(own)
	if err != nil {
		return r, err
	}
	defer stop()
	if err := copyFile("/proc/self/exe", filepath.Join(work, "probe")); err != nil {
		return r, err
	}
	hook := filepath.Join(work, "hook")
	if err := os.WriteFile(hook, []byte(s.Hook), 0o700); err != nil {
		return r, err
	}
	box, err := confine.New(confine.Options{Program: []string{"/proc/self/exe", asGuard}, Processes: s.Processes})
	if err != nil {
		return r, err
	}
	if err := box.Share(work); err != nil {
		return r, err
	}
	r.Level = box.String()
	if s.Unconfined {
		s.execute(&r, buildhooks.Process{}, hook, work)
	} else {
		s.execute(&r, box, hook, work)
	}
	made, _ := os.ReadFile(filepath.Join(work, "private", "made"))
	r.Read = string(made)
	if err := os.RemoveAll(work); err != nil {
		r.Remove = err.Error()
	}
	r.Left, err = marked()
	return r, err
}

// execute runs the hook. The hook gets the process ID of the step as STEP.
func (s step) execute(r *result, box buildhooks.Executor, hook, work string) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if s.StopAfter > 0 {
		time.AfterFunc(s.StopAfter, cancel)
	}
	started := filepath.Join(work, "started")
	if s.KillGuard {
		go func() { awaitFile(started); killChildren() }()
	}
	if s.Crash {
		go func() { awaitFile(started); _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) }()
	}
	var out bytes.Buffer
	began := time.Now()
	err := box.Execute(ctx, buildhooks.Program{Hook: "build", File: hook, Dir: work, Execution: buildhooks.Execution{
		Environ: []string{
			"PATH=" + os.Getenv("PATH"),
			"HOME=" + work,
			"TMPDIR=" + work,
			"STEP=" + strconv.Itoa(os.Getpid()),
			"OWN=" + filepath.Dir(work),
		},
		Output: &out,
		Grace:  s.Grace,
	}})
	r.Took = time.Since(began)
	r.Output = out.String()
	if err != nil {
		r.Error = err.Error()
	}
	var failed *buildhooks.Failure
	if errors.As(err, &failed) {
		r.Code = failed.Code
	}
}

// awaitFile waits until the hook has made a file.
func awaitFile(file string) {
	for {
		if _, err := os.Stat(file); err == nil {
			return
		}
		runtime.Gosched()
	}
}

// killChildren kills the guard.
func killChildren() {
	children, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range children {
		text, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
}

// openSecrets writes a secret file and listens on two sockets, which answer with the canary.
func openSecrets(dir string) (stop func(), err error) {
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte(canary), 0o600); err != nil {
		return nil, err
	}
	private := filepath.Join(dir, "private-7c1f")
	if err := os.Mkdir(private, 0o700); err != nil {
		return nil, err
	}
	var all []net.Listener
	for _, address := range []string{"@slipway-confine-test", filepath.Join(private, "socket")} {
		l, err := net.Listen("unix", address)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, canary)
				c.Close()
			}
		}()
	}
	return func() {
		for _, l := range all {
			l.Close()
		}
	}, nil
}

func connectMain(address string) int {
	c, err := net.Dial("unix", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_, _ = io.Copy(os.Stdout, c)
	return 0
}

func descriptorsMain() int {
	for fd := range 256 {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 { // Go's own ones close on exec
			fmt.Fprint(os.Stdout, " ", fd)
		}
	}
	fmt.Fprintln(os.Stdout)
	return 0
}

// mark is in the command line of each process that the tests' hooks leave.
const mark = "31337.5"

// marked returns the command lines of the processes with the mark.
func marked() (all []string, err error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		text, err := os.ReadFile(file)
		line := strings.ReplaceAll(string(text), "\x00", " ")
		if err == nil && strings.HasPrefix(line, "sleep "+mark) {
			all = append(all, line)
		}
	}
	return all, err
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = io.Copy(out, in)
	return err
}
