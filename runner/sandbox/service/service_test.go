package service_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/buildservice"
	"slipway/config/secret"
	"slipway/runner/sandbox/guest"
	"slipway/runner/sandbox/sandboxtest"
	"slipway/runner/sandbox/service"
)

// checkVar makes the test binary ask the service at a socket for its level.
const checkVar = "SLIPWAY_TEST_CHECK"

// hookToken begins the token of a runner that runs a hook.
const hookToken = "hook:"

// attemptToken begins the token of a runner that runs an attempt of a gateway.
const attemptToken = "runner-token-"

// TestMain makes the test binary a runner if a service started it. The token is the path of the
// runner's output file.
func TestMain(m *testing.M) {
	if guest.Requested(os.Args) {
		os.Exit(guest.Main())
	}
	if len(os.Args) == 2 && os.Args[1] == "--version" { // this binary is a runner's program
		fmt.Fprintln(os.Stdout, "slipway version 1.2")
		return
	}
	if socket := os.Getenv(checkVar); socket != "" {
		level, err := buildservice.Client{Socket: socket}.Level(context.Background())
		fmt.Fprintln(os.Stdout, "level", level.Hooks, err)
		return
	}
	if socket := os.Getenv(attackVar); socket != "" {
		attack(socket)
		return
	}
	if os.Getenv(buildservice.ControlVar) == "" {
		os.Exit(sandboxtest.Main(m))
	}
	if file, ok := strings.CutPrefix(os.Getenv("SLIPWAY_RUNNER_TOKEN"), waitToken); ok {
		waitForAttack(file)
		return
	}
	if dir, ok := strings.CutPrefix(os.Getenv("SLIPWAY_RUNNER_TOKEN"), attackToken); ok {
		attackAttempt(dir)
		return
	}
	out, hook := strings.CutPrefix(os.Getenv("SLIPWAY_RUNNER_TOKEN"), hookToken)
	answers := askForAll
	if hook {
		answers = runHook
	}
	if file, fill := strings.CutPrefix(os.Getenv("SLIPWAY_RUNNER_TOKEN"), fillToken); fill {
		out, answers = file, fillDisk
	}
	if strings.HasPrefix(os.Getenv("SLIPWAY_RUNNER_TOKEN"), attemptToken) {
		if err := runAttempt(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := os.WriteFile(out+".tmp", []byte(answers()), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := os.Rename(out+".tmp", out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// askForAll asks for a builder, a listener and four sandboxes, and returns a line for each.
func askForAll() string {
	control, err := buildservice.OpenControl(os.Getenv)
	if err != nil {
		return err.Error()
	}
	var lines []string
	note := func(conn net.Conn, err error) {
		if err != nil {
			lines = append(lines, "error: "+err.Error())
			return
		}
		text, err := io.ReadAll(io.LimitReader(conn, 1000))
		lines = append(lines, fmt.Sprintf("%s %v", text, err))
	}
	note(control.Builder(context.Background()))
	if _, err := control.Listener(context.Background(), 0); err != nil {
		lines = append(lines, "error: "+err.Error())
	}
	for _, request := range []buildservice.Sandbox{
		{Sites: []string{"10.0.0.5:443"}}, {Sites: []string{"bitbucket.org:443"}, Authority: "none"}, {}, {},
	} {
		conn, err := control.Sandbox(context.Background(), request)
		if err != nil {
			lines = append(lines, "error: "+err.Error())
			continue
		}
		note(conn, nil)
	}
	return strings.Join(lines, "\n")
}

// fullBuilders is a disk without space for any cache, or a builder that does not start for another reason.
type fullBuilders struct{ err error }

func (b fullBuilders) Dial(context.Context, string) (net.Conn, error) { return nil, b.err }

// A gateway learns before an attempt whether the disk has space for its cache. Other errors refuse the request.
func TestTheSpaceForACacheIsChecked(t *testing.T) {
	full := fmt.Errorf("make a disk (SLIPWAY_BUILDER_DISK): %w", syscall.ENOSPC)
	for name, c := range map[string]struct {
		builders service.Builders
		want     string
		err      error
	}{
		"space":         {builders{}, "", nil},
		"no space":      {fullBuilders{full}, full.Error(), nil},
		"another error": {fullBuilders{errors.New("it does not answer")}, "", buildservice.ErrRefused},
	} {
		e := newEnv(t, "", func(o *service.Options) { o.Builders = c.builders })
		got, err := e.client.CheckSpace(t.Context(), "a")
		if !errors.Is(err, c.err) || got != c.want {
			t.Errorf("%s: got problem %q and error %v, want %q and error %v", name, got, err, c.want, c.err)
		}
	}
	e := newEnv(t, "", nil)
	if _, err := e.client.CheckSpace(t.Context(), ""); !errors.Is(err, buildservice.ErrRefused) {
		t.Errorf("no domain: got error %v, want %v", err, buildservice.ErrRefused)
	}
}

func TestARunnerEndsWithItsResult(t *testing.T) {
	e := newEnv(t, `echo last words; exit 3`, nil)
	ended := e.start(t, "b1-1").Wait()
	if ended.Error != "exit status 3" {
		t.Errorf("error: got %q, want exit status 3", ended.Error)
	}
	if ended.Output != "last words" {
		t.Errorf("output: got %q, want the last words", ended.Output)
	}
	left, err := os.ReadDir(filepath.Join(e.state, "attempts"))
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 0 {
		t.Errorf("directories of ended attempts: got %v, want none", left)
	}
}

func TestARunnerEndsWhenItIsStopped(t *testing.T) {
	e := newEnv(t, `trap '' TERM; echo $$ > $OUT/pid; while :; do sleep 1; done`, nil)
	a := e.start(t, "b1-1")
	e.read(t, "pid")
	a.Stop()
	a.Stop() // again is harmless
	if ended := a.Wait(); ended.Error != "signal: killed" {
		t.Errorf("error: got %q, want signal: killed", ended.Error)
	}
}

func TestARunnerEndsWithItsConnection(t *testing.T) {
	e := newEnv(t, `echo up > $OUT/up; trap 'echo down > $OUT/down; exit 0' TERM; while :; do sleep 0.05; done`,
		func(o *service.Options) { o.Grace = 10 * time.Second })
	a := e.start(t, "b1-1")
	e.read(t, "up")
	a.Kill()
	e.read(t, "down")
	if ended := a.Wait(); !strings.Contains(ended.Error, "the builder service ended") {
		t.Errorf("error: got %q, want that the service ended", ended.Error)
	}
}

func TestWrongRunsAreRefused(t *testing.T) {
	e := newEnv(t, `exec sleep 100`, nil)
	e.start(t, "twice")
	for name, change := range map[string]func(*buildservice.Run){
		"runs already":                      func(r *buildservice.Run) { r.Attempt = "twice" },
		"name of the attempt":               func(r *buildservice.Run) { r.Attempt = "../b1" },
		"trust domain has 0 bytes":          func(r *buildservice.Run) { r.Domain = "" },
		"trust domain has 300 bytes":        func(r *buildservice.Run) { r.Domain = strings.Repeat("d", 300) },
		"the token has a control character": func(r *buildservice.Run) { r.Token = secret.New("a\nB=c") },
		"the runner protocol is \"file":     func(r *buildservice.Run) { r.URL = "file:///etc/passwd" },
		"address of the builder":            func(r *buildservice.Run) { r.Builder = "unix:///a\x00b" },
		"the runner protocol has 3007":      func(r *buildservice.Run) { r.URL = "http://" + strings.Repeat("h", 3000) },
	} {
		t.Run(name, func(t *testing.T) {
			r := run("b1-1")
			change(&r)
			_, err := e.client.Start(t.Context(), r)
			if !errors.Is(err, buildservice.ErrRefused) {
				t.Errorf("got %v, want ErrRefused", err)
			}
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("got %v, want %q in it", err, name)
			}
		})
	}
}

// A malformed message closes the connection, and the service goes on.
func TestAMalformedMessageHarmsNobody(t *testing.T) {
	e := newEnv(t, `exit 0`, nil)
	for _, message := range []string{"", "{", `{"run":{"path":"/etc"}}`, `{"stop":{}}`, `{} {}`, strings.Repeat("x", 70<<10)} {
		c, err := net.Dial("unixpacket", e.client.Socket)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte(message)) // the service may refuse the size
		reply, _ := io.ReadAll(c)
		if strings.Contains(string(reply), "started") {
			t.Errorf("message %.40q: got %s, want no start", message, reply)
		}
		c.Close()
	}
	if ended := e.start(t, "b1-1").Wait(); ended.Error != "" {
		t.Errorf("a runner afterwards: got error %q, want none", ended.Error)
	}
}

func TestTheLevelIsReported(t *testing.T) {
	e := newEnv(t, `exit 0`, func(o *service.Options) { o.NotHeld = []string{"network: shared"} })
	level, err := e.client.Level(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if level.Hooks != buildservice.LevelOff {
		t.Errorf("level: got %q, want off", level.Hooks)
	}
	if level.Why != "no sandbox in this test" {
		t.Errorf("reason: got %q, want that of the test", level.Why)
	}
	if diff := cmp.Diff([]string{"network: shared"}, level.NotHeld); diff != "" {
		t.Errorf("limits without effect (-want +got):\n%s", diff)
	}
}
