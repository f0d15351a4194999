package domains_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/config/process"
	"slipway/runner/sandbox/domains"
)

func TestABuilderIsStartedOnceForAllClientsOfADomain(t *testing.T) {
	needBuilder(t)
	s, _ := newSupervisor(t, func(o *domains.Options) { o.Group = 64001 })
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := s.Address(t.Context(), "a"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	a := address(t, s, "a")
	ping(t, a)
	first := pidOf(t, a)
	if again := address(t, s, "a"); again != a {
		t.Errorf("got address %s, then %s", a, again)
	}
	if second := pidOf(t, a); second != first {
		t.Errorf("got process %d, then %d: a second builder was started", first, second)
	}
	info, err := os.Stat(strings.TrimPrefix(a, "unix://"))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Sys().(*syscall.Stat_t).Gid; got != 64001 {
		t.Errorf("group of the socket: got %d, want 64001", got)
	}
	if got := info.Mode().Perm(); got != 0o660 {
		t.Errorf("mode of the socket: got %o, want 660", got)
	}
}

func TestDomainsHaveTheirOwnProcessAndFiles(t *testing.T) {
	needBuilder(t)
	s, _ := newSupervisor(t, nil)
	a, b := address(t, s, "a"), address(t, s, "../b")
	if a == b {
		t.Errorf("got address %s for both", a)
	}
	if pidA, pidB := pidOf(t, a), pidOf(t, b); pidA == pidB {
		t.Errorf("got process %d for both", pidA)
	}
	dirA, dirB := filepath.Dir(strings.TrimPrefix(a, "unix://")), filepath.Dir(strings.TrimPrefix(b, "unix://"))
	if filepath.Dir(dirA) != filepath.Dir(dirB) {
		t.Errorf("got directories %s and %s, want two of one parent", dirA, dirB)
	}
	for _, dir := range []string{filepath.Dir(dirA), dirA, dirB} {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm() & 0o077; got != 0 && dir != filepath.Dir(dirA) {
			t.Errorf("mode of %s for others: got %o, want 0", dir, got)
		}
	}
}

func TestDialConnectsToTheDomain(t *testing.T) {
	needBuilder(t)
	s, _ := newSupervisor(t, nil)
	conn, err := s.Dial(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, want := "unix://"+conn.RemoteAddr().String(), address(t, s, "a"); got != want {
		t.Errorf("got a connection to %s, want %s", got, want)
	}
}

func TestABuilderRestartsAfterACrash(t *testing.T) {
	needBuilder(t)
	s, hook := newSupervisor(t, nil)
	a := address(t, s, "a")
	first := pidOf(t, a)
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitForLog(t, hook, "the builder ended", 1)
	ping(t, address(t, s, "a"))
	if pidOf(t, a) == first {
		t.Error("got the killed builder, want a new one")
	}
}

// Clients connect while the builder stops. None loses its connection.
func TestConnectionsStartABuilderAfterAnIdleStop(t *testing.T) {
	needBuilder(t)
	s, hook := newSupervisor(t, func(o *domains.Options) { o.Idle = time.Millisecond })
	a := address(t, s, "a")
	for stop := 1; stop <= 3; stop++ {
		waitForLog(t, hook, "the builder stops", stop)
		var clients sync.WaitGroup
		for range 3 {
			clients.Go(func() { ping(t, a) }) // without Address: a connection is enough
		}
		clients.Wait()
	}
}

func TestTheOldestIdleBuilderStopsForAnother(t *testing.T) {
	needBuilder(t)
	s, hook := newSupervisor(t, func(o *domains.Options) { o.MaxRunning = 2 })
	a, b := address(t, s, "a"), address(t, s, "b")
	busy := dial(t, a) // a is older, but it has a client
	pidA := pidOf(t, a)
	ping(t, address(t, s, "c"))
	waitForLog(t, hook, "the builder stops", 1)
	if _, err := syscall.Getpgid(pidA); err != nil {
		t.Errorf("the builder with a client: got %v, want a running process", err)
	}
	if _, err := syscall.Getpgid(pidOf(t, b)); err == nil {
		t.Error("the idle builder: got a running process, want none")
	}
	_ = busy.Close()
}

func TestABuilderWaitsForAPlace(t *testing.T) {
	needBuilder(t)
	s, _ := newSupervisor(t, func(o *domains.Options) { o.MaxRunning = 1 })
	busy := dial(t, address(t, s, "a"))
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	if _, err := s.Address(ctx, "b"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while all are busy: got %v, want DeadlineExceeded", err)
	}
	_ = busy.Close()
	ping(t, address(t, s, "b"))
}

func TestCloseStopsTheBuilders(t *testing.T) {
	needBuilder(t)
	var dir string
	s, _ := newSupervisor(t, func(o *domains.Options) { dir = o.Dir })
	path := strings.TrimPrefix(address(t, s, "a"), "unix://")
	pid := pidOf(t, "unix://"+path)
	s.Close()
	if conn, err := net.Dial("unix", path); err == nil {
		_ = conn.Close()
		t.Error("a builder accepts connections after Close")
	}
	if _, err := syscall.Getpgid(pid); err == nil {
		t.Errorf("process %d runs after Close", pid)
	}
	if _, err := s.Address(t.Context(), "a"); err == nil {
		t.Error("Address after Close: got no error, want one")
	}
	s.Close() // harmless
	again, _ := newSupervisor(t, func(o *domains.Options) { o.Dir = dir })
	ping(t, address(t, again, "a"))
}

// The kernel ends the builders of a killed supervisor. The next supervisor waits for their end.
func TestAKilledSupervisorLeavesNothing(t *testing.T) {
	needBuilder(t)
	dir := shortDir(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	killed := exec.Command(self)
	killed.Env = append(os.Environ(), asSupervisor+"="+dir)
	out, err := killed.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "<nil>\n" {
		t.Fatalf("the supervisor printed %q, and %v", line, err)
	}
	sockets, err := filepath.Glob(filepath.Join(dir, "*", "builder.sock"))
	if err != nil || len(sockets) != 1 {
		t.Fatalf("got sockets %q and %v, want one", sockets, err)
	}
	first := pidOf(t, "unix://"+sockets[0])
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait() // it was killed
	s, _ := newSupervisor(t, func(o *domains.Options) { o.Dir = dir })
	a := address(t, s, "a")
	ping(t, a)
	if got := "unix://" + sockets[0]; got != a {
		t.Errorf("address: got %s, want that of the predecessor, %s", a, got)
	}
	must.Eventually(t, "the first builder has ended", func() bool { return syscall.Kill(first, 0) != nil })
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), dir) {
		t.Errorf("got a mount below %s in %s", dir, mounts)
	}
}

// Two gateways by mistake, or one that is still ending: the second waits for the first.
func TestASupervisorWaitsForItsPredecessor(t *testing.T) {
	needBuilder(t)
	var dir string
	first, _ := newSupervisor(t, func(o *domains.Options) { dir = o.Dir })
	a := address(t, first, "a")
	second, _ := newSupervisor(t, func(o *domains.Options) { o.Dir = dir })
	result := make(chan error, 1)
	go func() {
		_, err := second.Address(t.Context(), "a")
		result <- err
	}()
	select {
	case err := <-result:
		t.Fatalf("beside a running supervisor: got %v, want a wait", err)
	case <-time.After(300 * time.Millisecond):
	}
	first.Close()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	ping(t, a)
}

func TestASupervisorReportsThatItsDirectoryIsInUse(t *testing.T) {
	needBuilder(t)
	var dir string
	first, _ := newSupervisor(t, func(o *domains.Options) { dir = o.Dir })
	address(t, first, "a")
	second, _ := newSupervisor(t, func(o *domains.Options) { o.Dir = dir })
	_, err := second.Address(t.Context(), "a")
	if !errors.Is(err, process.ErrStateLocked) {
		t.Errorf("got %v, want ErrStateLocked", err)
	}
	if want := fmt.Sprintf("process %d", os.Getpid()); err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, want %q in it", err, want)
	}
}

func TestAddressReportsWhyABuilderDidNotStart(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*domains.Options)
		want   string
	}{
		"no such program": {
			change: func(o *domains.Options) { o.Executable = "/no/such/program" }, want: "no such file",
		},
		"wrong setting": {
			change: func(o *domains.Options) { o.Args = []string{"--cache-size", "many"} }, want: "--cache-size",
		},
		"ends well": {
			change: func(o *domains.Options) { o.Executable = "/bin/true" }, want: "stopped at once",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newSupervisor(t, c.change)
			_, err := s.Address(t.Context(), "a")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// A client that connects to a builder which does not start must not wait for ever.
func TestAConnectionEndsIfNoBuilderStarts(t *testing.T) {
	var dir string
	s, hook := newSupervisor(t, func(o *domains.Options) { dir, o.Executable = o.Dir, script(t, "exit 1") })
	if _, err := s.Address(t.Context(), "a"); err == nil {
		t.Fatal("the script does not start a builder")
	}
	sockets, err := filepath.Glob(filepath.Join(dir, "*", "builder.sock"))
	if err != nil || len(sockets) != 1 {
		t.Fatalf("got sockets %q and %v, want one", sockets, err)
	}
	conn, err := net.Dial("unix", sockets[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want the end of the connection", err)
	}
	waitForLog(t, hook, "the builder does not start", 1)
}

func TestAddressEndsWithItsContext(t *testing.T) {
	s, _ := newSupervisor(t, func(o *domains.Options) { o.Executable = script(t, "exec sleep 60") })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := s.Address(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want DeadlineExceeded", err)
	}
}

func TestCloseEndsAStart(t *testing.T) {
	s, _ := newSupervisor(t, func(o *domains.Options) { o.Executable = script(t, "exec sleep 60") })
	result := make(chan error, 1)
	go func() {
		_, err := s.Address(t.Context(), "a")
		result <- err
	}()
	time.AfterFunc(200*time.Millisecond, s.Close)
	if err := <-result; err == nil {
		t.Error("got no error, want that of a closed supervisor")
	}
}

func TestABuilderGetsOnlyTheGivenEnvironment(t *testing.T) {
	t.Setenv("SLIPWAY_BITBUCKET_CLIENT_SECRET", "canary")
	dump := filepath.Join(t.TempDir(), "env")
	s, _ := newSupervisor(t, func(o *domains.Options) {
		o.Executable = script(t, "env > "+dump)
		o.Environ = []string{"https_proxy=http://proxy.example:3128"}
	})
	if _, err := s.Address(t.Context(), "a"); err == nil {
		t.Fatal("the script does not start a builder")
	}
	env, err := os.ReadFile(dump)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(env), "canary") {
		t.Errorf("got a secret of the gateway in %s", env)
	}
	if !strings.Contains(string(env), "https_proxy=") {
		t.Errorf("got %s, want https_proxy in it", env)
	}
}
