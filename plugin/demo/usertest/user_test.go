package usertest

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipway/config/process"
	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

const (
	gatewayUID = 64500
	runnerUID  = 64000 // of the first runner
	otherUID   = 64001 // of another runner
)

// An env has a gateway that is an ordinary user, and a builder service that is root.
type env struct {
	*demotest.Env
	dir string // of the service: its socket and its state
}

func open(t *testing.T) *env {
	t.Helper()
	e := &env{}
	e.Env = demotest.StartSignedIn(t, localenv.Options{
		Child:       true,
		GatewayUser: gatewayUID,
		BeforeGateway: func(ctx context.Context, local *localenv.Env) ([]string, error) {
			e.dir = filepath.Join(local.Dir, "service")
			return []string{"SLIPWAY_BUILDER_SERVICE=" + e.socket()}, startService(ctx, t, local, e.dir)
		},
	})
	return e
}

func (e *env) socket() string { return filepath.Join(e.dir, "service.sock") }

// startService starts the service, as its systemd unit does.
func startService(ctx context.Context, t *testing.T, local *localenv.Env, dir string) error {
	t.Helper()
	if err := os.Mkdir(dir, 0o711); err != nil {
		return err
	}
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(
		executable,
		"builder",
		"service",
		"--socket",
		filepath.Join(dir, "service.sock"),
		"--state",
		filepath.Join(dir, "state"),
		"--gateway-user",
		strconv.Itoa(gatewayUID),
		"--local-registry",
		local.Registry,
		"--disk",
		"1GB",
		"--",
		"--network",
		"none",
	)
	cmd.Env = process.Environ(os.Environ())
	service, err := process.StartBuilder(cmd, func(line string) { t.Log(line) })
	if err != nil {
		return err
	}
	local.OnClose(func() { service.Stop(20 * time.Second) })
	return service.WaitReady(ctx)
}

// A push becomes an image, and its hook runs at level full. Meanwhile neither the gateway's user nor
// another runner's user reaches a file, socket or process of the service.
func TestAnOrdinaryUserIsTheGateway(t *testing.T) {
	demotest.RequireTools(t)
	e := open(t)
	for path, want := range map[string]uint32{e.Gateway.Data: gatewayUID, e.socket(): gatewayUID} {
		info, err := os.Stat(path)
		e.Must(err)
		if got := info.Sys().(*syscall.Stat_t).Uid; got != want { //nolint:forcetypeassert // of Linux
			t.Errorf("owner of %s: got %d, want %d", path, got, want)
		}
	}
	p := e.Automate(e.Dockerfile("start"), demotest.MainRule())
	files := e.Dockerfile("hello")
	files["hooks/pre_build"] = "#!/bin/sh\necho \"hook is $(id -u), it sees $(ls /proc | grep -c '^[0-9]') processes\"\n"
	p.Commit("Greet", files)
	p.Push("main")
	b := p.WaitEnd(1, autobuild.Succeeded)
	p.CheckImage("latest", b, "hello")
	log, err := e.Browser.Log(e.Context, b, 1, 0)
	e.Must(err)
	for _, want := range []string{"level full", "hook is 0, it sees"} {
		if !strings.Contains(log, want) {
			t.Errorf("log: got\n%s, want %q in it", log, want)
		}
	}
	e.checkDoctor()

	files["hooks/pre_build"] = "#!/bin/sh\necho waiting\nexec sleep 300\n"
	p.Commit("Wait", files)
	p.Push("main")
	b = p.WaitNewest(2, autobuild.Running)
	e.WaitUntil("the hook runs", func() (bool, error) {
		log, err := e.Browser.Log(e.Context, b, 1, 0)
		return strings.Contains(log, "waiting"), err
	})
	targets := e.targets()
	e.checkReach(gatewayUID, targets)
	e.checkReach(runnerUID, targets[:slices.Index(targets, e.socket())+1]) // files: processes of its own it may reach
	e.checkReach(otherUID, targets)
	e.Must(e.Browser.Press(e.Context, b, localenv.Cancel))
	p.WaitEnd(2, autobuild.Cancelled)
}

// checkDoctor checks that doctor knows the user and the level.
func (e *env) checkDoctor() {
	e.T.Helper()
	printed, _ := e.Gateway.Doctor(e.Context) // the exit code depends on the machine
	for _, want := range []string{
		"✓ user         the gateway is not root (user 64500)", "✓ isolation    full: build hooks run in a sandbox",
	} {
		if !strings.Contains(printed, want) {
			e.T.Errorf("doctor: got\n%s, want %q in it", printed, want)
		}
	}
}

// targets returns the files below the service's state, then its socket, and then its processes.
func (e *env) targets() []string {
	e.T.Helper()
	var all []string
	state := filepath.Join(e.dir, "state")
	e.Must(filepath.WalkDir(state, func(path string, entry fs.DirEntry, err error) error {
		// Users pass through these two, which lists nothing.
		if err == nil && (strings.Contains(path, "/domains/") || strings.Contains(path, "/attempts")) {
			all = append(all, path)
		}
		if strings.Count(strings.TrimPrefix(path, state), "/") > 3 && entry != nil && entry.IsDir() {
			return fs.SkipDir
		}
		return nil // the builder deletes files meanwhile
	}))
	if !slices.ContainsFunc(all, func(path string) bool { return filepath.Base(path) == "builder.sock" }) {
		e.T.Errorf("files of the service: got %v, want the socket of a builder", all)
	}
	all = append(all, e.socket())
	processes, err := localenv.Processes()
	e.Must(err)
	for _, p := range processes {
		line := strings.Join(p.Args, " ")
		if strings.Contains(line, e.dir) || strings.HasPrefix(p.Dir, e.dir) {
			all = append(all, strconv.Itoa(p.ID))
		}
	}
	return all
}

// checkReach checks that a user reaches none of the targets. The gateway's user may use its socket.
func (e *env) checkReach(uid uint32, targets []string) {
	e.T.Helper()
	if uid == gatewayUID {
		targets = slices.DeleteFunc(slices.Clone(targets), func(target string) bool { return target == e.socket() })
	}
	cmd := exec.CommandContext(e.Context, "/proc/self/exe", reachCommand)
	cmd.Stdin = strings.NewReader(strings.Join(targets, "\n") + "\n")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	e.Must(err)
	if string(out) != "done\n" {
		e.T.Errorf("user %d: got\n%s, want nothing reachable of %d targets", uid, out, len(targets))
	}
}
