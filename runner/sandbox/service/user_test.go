package service_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"slipway/config/buildservice"
	"slipway/config/secret"
	"slipway/runner/sandbox/service"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: runners of their own users need root, which is absent")
	}
}

func ownUsers(o *service.Options) { o.FirstUID, o.GID = 64000, 64000 }

// Each runner has its own user, a clean environment and its own processes.
func TestRunnersHaveTheirOwnUsers(t *testing.T) {
	needRoot(t)
	t.Setenv("SLIPWAY_CANARY", "must not be inherited")
	e := newEnv(
		t,
		`{ id -u; id -g; env; stat -c 'owner %u %a' . workspace; echo "pid $$"; } > $OUT/$SLIPWAY_RUNNER_TOKEN.tmp
mv $OUT/$SLIPWAY_RUNNER_TOKEN.tmp $OUT/$SLIPWAY_RUNNER_TOKEN
exec sleep 300`,
		ownUsers,
	)
	for _, name := range []string{"b1-1", "b2-1"} {
		r := run(name)
		r.Token = secret.New(name)
		if _, err := e.client.Start(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		e.read(t, name)
	}
	for name, uid := range map[string]string{"b1-1": "64000", "b2-1": "64001"} {
		got := e.read(t, name)
		if !strings.HasPrefix(got, uid+"\n64000\n") {
			t.Errorf("user of %s: got %.12q, want %s", name, got, uid)
		}
		if strings.Contains(got, "CANARY") {
			t.Errorf("environment of %s: got that of the service:\n%s", name, got)
		}
		if !strings.Contains(got, "pid 1\n") {
			t.Errorf("%s: got the service's process namespace, want its own:\n%s", name, got)
		}
		if strings.Count(got, "owner "+uid+" 700") != 2 {
			t.Errorf("directories of %s: got other owners or modes than %s 700:\n%s", name, uid, got)
		}
	}
}

// A compromised gateway, and every other user, may only send requests that the protocol allows.
func TestOtherUsersMayNotConnect(t *testing.T) {
	needRoot(t)
	e := newEnv(t, `exit 0`, func(o *service.Options) { o.Peers = []uint32{64500} })
	for uid, want := range map[string]string{"64500": "level off", "64501": "may not use the builder service"} {
		t.Run("user "+uid, func(t *testing.T) {
			number, err := strconv.Atoi(uid)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
			cmd.Env = []string{checkVar + "=" + e.client.Socket}
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(number), Gid: 64000}}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if !strings.Contains(string(out), want) {
				t.Errorf("reply: got %s, want %q in it", out, want)
			}
		})
	}
}

// The service identifies the domain by the socket that the runner inherited.
func TestARunnerGetsTheBuilderOfItsDomain(t *testing.T) {
	boxes := &sandboxes{}
	e := newEnv(t, "", func(o *service.Options) {
		o.Program = "/proc/self/exe"
		o.Sandboxes = boxes
	})
	r := run("b1-1")
	r.Token = secret.New(filepath.Join(e.dir, "answers"))
	a, err := e.client.Start(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(e.read(t, "answers"), "\n")
	want := []string{
		"domain of b1-1 <nil>",
		"error: listen inside the sandbox: the attempt has no sandbox yet",
		"error: open the sandbox for build hooks: the site 10.0.0.5:443 is an address: " +
			"a host name or a loopback address is needed",
		"error: open the sandbox for build hooks: the attempt's authority is not one certificate in PEM form",
		"sandbox of b1-1 in workspace <nil>",
		"error: open the sandbox for build hooks: the attempt has a sandbox already",
	}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Errorf("reply %d: got %q, want %q", i, got, want[i])
		}
	}
	if ended := a.Wait(); ended.Error != "" {
		t.Errorf("runner: got error %q with output %q, want none", ended.Error, ended.Output)
	}
	if n := boxes.closed.Load(); n != 1 {
		t.Errorf("closed sandboxes: got %d, want 1", n)
	}
}

// A panic in the service ends one attempt, and not the others.
func TestAPanicEndsOneAttempt(t *testing.T) {
	e := newEnv(t, "", func(o *service.Options) {
		o.Program = "/proc/self/exe"
		o.Builders = panicking{}
	})
	r := run("b1-1")
	r.Token = secret.New(filepath.Join(e.dir, "answers"))
	a, err := e.client.Start(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if got := e.read(t, "answers"); !strings.Contains(got, "error: connect to the builder") {
		t.Errorf("replies: got %q, want an error", got)
	}
	a.Wait()
	if _, err := e.client.Level(t.Context()); err != nil {
		t.Errorf("a later request: got %v, want a reply", err)
	}
}

// A message has a maximum size, and an error with the output of a program may be longer.
func TestALongErrorReachesTheRunner(t *testing.T) {
	e := newEnv(t, "", func(o *service.Options) {
		o.Program = "/proc/self/exe"
		o.Sandboxes = verbose{&sandboxes{}}
	})
	r := run("b1-1")
	r.Token = secret.New(filepath.Join(e.dir, "answers"))
	if _, err := e.client.Start(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if got := e.read(t, "answers"); !strings.Contains(got, "error: open the sandbox for build hooks: \x01\x01") {
		t.Errorf("replies: got %.300q, want the beginning of the error", got)
	}
}

type verbose struct{ *sandboxes }

func (verbose) Open(context.Context, service.Place) (service.Sandbox, error) {
	return nil, errors.New(strings.Repeat("\x01", 100_000))
}

type panicking struct{}

func (panicking) Dial(context.Context, string) (net.Conn, error) { panic("a bug") }

func TestWithoutHooksThereIsNoSandbox(t *testing.T) {
	e := newEnv(t, "", func(o *service.Options) {
		o.Program = "/proc/self/exe"
		o.Sandboxes = &sandboxes{}
	})
	r := run("b1-1")
	r.Token = secret.New(filepath.Join(e.dir, "answers"))
	r.Hooks = false
	if _, err := e.client.Start(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if got := e.read(t, "answers"); !strings.Contains(got, "build hooks are off") {
		t.Errorf("replies: got %q, want that build hooks are off", got)
	}
}

// sandboxes are sandboxes that only say their names. The service closes them before Wait returns.
type sandboxes struct{ closed atomic.Int32 }

func (*sandboxes) Level() buildservice.Level {
	return buildservice.Level{Hooks: buildservice.LevelFull}
}

func (s *sandboxes) Open(_ context.Context, p service.Place) (service.Sandbox, error) {
	socket, err := saying("sandbox of " + p.Attempt + " in " + filepath.Base(p.Workspace))
	return &box{socket, s}, err
}

type box struct {
	socket *os.File
	all    *sandboxes
}

func (b *box) Listen(context.Context, int) (*os.File, error) {
	return nil, errors.New("no sites in this test")
}

func (b *box) Socket() *os.File { return b.socket }

func (b *box) Limit() string { return "killed: out of memory" }

func (b *box) Close() error {
	b.all.closed.Add(1)
	return nil
}

// dialed are builders that report the first domain that somebody connects to.
type dialed struct {
	builders
	domain chan<- string
}

func (d dialed) Dial(ctx context.Context, domain string) (net.Conn, error) {
	select {
	case d.domain <- domain:
	default:
	}
	return d.builders.Dial(ctx, domain)
}

// A builder takes as long to start as a runner to fetch the commit, so the service does not wait for the
// runner's request.
func TestTheBuilderStartsBesideTheRunner(t *testing.T) {
	domain := make(chan string, 1)
	e := newEnv(t, "sleep 60", func(o *service.Options) { o.Builders = dialed{domain: domain} })
	e.start(t, "b1-1")
	if got, want := <-domain, "domain of b1-1"; got != want {
		t.Errorf("domain of the started builder: got %q, want %q", got, want)
	}
}
