package service_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipway/config/buildservice"
	"slipway/config/must"
	"slipway/config/secret"
	"slipway/runner/sandbox/service"
)

// attackVar makes the test binary a gateway that was taken over. Its value is the service's socket.
const attackVar = "SLIPWAY_TEST_ATTACK"

// gatewayUID is the gateway's user in these tests.
const gatewayUID = 64500

// A compromised gateway can only send requests that the protocol allows. It does not disturb a running
// attempt.
func TestAHostileGatewayOnlyUsesTheProtocol(t *testing.T) {
	needRoot(t)
	e := newEnv(t, "echo up > $OUT/$SLIPWAY_RUNNER_TOKEN; exec sleep 300", func(o *service.Options) {
		o.Peers = []uint32{gatewayUID}
		ownUsers(o)
	})
	victim := run("victim")
	victim.Token = secret.New("victim")
	attempt, err := e.client.Start(t.Context(), victim)
	must.Succeed(t, err)
	e.read(t, "victim")
	before := openFiles(t)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = []string{attackVar + "=" + e.client.Socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: gatewayUID, Gid: gatewayUID}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("attacks: %v\n%s", err, out)
	}
	if !strings.HasSuffix(string(out), "done\n") || strings.Contains(string(out), "REACHED") {
		t.Errorf("attacks: got\n%s, want each one refused", out)
	}
	must.Eventually(t, "the attempts of the attacker end", func() bool {
		left, err := os.ReadDir(filepath.Join(e.state, "attempts"))
		return err == nil && len(left) == 1 && left[0].Name() == "victim"
	})
	must.Eventually(
		t,
		"the service closes the descriptors of the attacker",
		func() bool { return openFiles(t) <= before },
	)
	if _, err := e.client.Level(t.Context()); err != nil {
		t.Errorf("level after the attacks: %v", err)
	}
	attempt.Stop()
	if ended := attempt.Wait(); ended.Error != "signal: terminated" && ended.Error != "signal: killed" {
		t.Errorf("end of the other attempt: got %q, want that of our own stop signal", ended.Error)
	}
}

// openFiles returns the number of descriptors of this process, which serves.
func openFiles(t *testing.T) int {
	t.Helper()
	return len(must.Get[[]os.DirEntry](t)(os.ReadDir("/proc/self/fd")))
}

// attack tries to use the service for more than the protocol allows. It prints a line for each attack
// that was not refused, and "done" at the end.
func attack(socket string) {
	for name, message := range hostileMessages() {
		if reply := exchange(
			socket,
			message,
			0,
		); strings.Contains(reply, "started") ||
			strings.Contains(reply, "level") {
			fmt.Fprintf(os.Stdout, "REACHED %s: %.200s\n", name, reply)
		}
	}
	for _, files := range []int{1, 4, 200} {
		if reply := exchange(socket, `{"check":{}}`, files); strings.Contains(reply, "level") {
			fmt.Fprintf(os.Stdout, "REACHED a reply to a message with %d files: %s\n", files, reply)
		}
	}
	for i := range 20 { // close in the middle of a start
		c, err := net.Dial("unixpacket", socket)
		if err != nil {
			fmt.Fprintln(os.Stdout, "connect:", err)
			return
		}
		_, _ = c.Write([]byte(runMessage(func(r map[string]any) { r["attempt"] = fmt.Sprint("gone-", i) })))
		c.Close()
	}
	stops := exchange(socket, runMessage(func(map[string]any) {}), 0, strings.Repeat(`{"stop":{}}|`, 1000))
	if !strings.Contains(stops, "started") {
		fmt.Fprintln(os.Stdout, "REACHED the end of the service's own protocol:", stops)
	}
	holdConnections(socket)
	fmt.Fprintln(os.Stdout, "done")
}

// hostileMessages returns messages that the service must refuse, by name.
func hostileMessages() map[string]string {
	long := strings.Repeat("x", 60<<10)
	return map[string]string{
		"no message":      "",
		"no JSON":         "\x00\xff",
		"two values":      `{"check":{}} {"check":{}}`,
		"deep nesting":    strings.Repeat("[", 30000),
		"too long":        `{"check":{}}` + strings.Repeat(" ", 100<<10),
		"a mount":         `{"mount":{"from":"/","to":"/mnt"}}`,
		"a stop first":    `{"stop":{}}`,
		"a path":          runMessage(func(r map[string]any) { r["dir"] = "/etc" }),
		"a command":       runMessage(func(r map[string]any) { r["command"] = []string{"id"} }),
		"a user":          runMessage(func(r map[string]any) { r["uid"] = 0 }),
		"an environment":  runMessage(func(r map[string]any) { r["token"] = "a\nLD_PRELOAD=/tmp/x.so" }),
		"a NUL":           runMessage(func(r map[string]any) { r["builder"] = "unix:///x\x00LD_PRELOAD=/tmp/x.so" }),
		"a socket":        runMessage(func(r map[string]any) { r["builder"] = "unix:///run/dbus/system_bus_socket" }),
		"a container":     runMessage(func(r map[string]any) { r["builder"] = "docker-container://x" }),
		"a file URL":      runMessage(func(r map[string]any) { r["url"] = "file:///etc/shadow" }),
		"a parent":        runMessage(func(r map[string]any) { r["attempt"] = ".." }),
		"a path as name":  runMessage(func(r map[string]any) { r["attempt"] = "../../etc" }),
		"another attempt": runMessage(func(r map[string]any) { r["attempt"] = "victim" }),
		"a link below":    runMessage(func(r map[string]any) { r["attempt"] = "victim/workspace" }),
		"a long name":     runMessage(func(r map[string]any) { r["attempt"] = long }),
		"a long domain":   runMessage(func(r map[string]any) { r["domain"] = long }),
		"a number":        runMessage(func(r map[string]any) { r["attempt"] = 1e300 }),
	}
}

// runMessage returns the message that starts an attempt, with a change.
func runMessage(change func(run map[string]any)) string {
	run := map[string]any{
		"attempt": "attack", "domain": "d", "url": "http://gateway/", "token": "attack", "hooks": true,
	}
	change(run)
	text, err := json.Marshal(map[string]any{"run": run})
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// exchange sends a message with files, and then the messages in more, separated by |. It returns the
// reply, or the error.
func exchange(socket, message string, files int, more ...string) string {
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: socket, Net: "unixpacket"})
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	var rights []byte
	if files > 0 {
		rights = unix.UnixRights(slices.Repeat([]int{0}, files)...)
	}
	if _, _, err := c.WriteMsgUnix([]byte(message), rights, nil); err != nil {
		return err.Error()
	}
	for _, text := range more {
		for part := range strings.SplitSeq(strings.TrimSuffix(text, "|"), "|") {
			_, _ = c.Write([]byte(part)) // the service may have closed
		}
	}
	reply := make([]byte, 64<<10)
	n, err := c.Read(reply)
	if err != nil && !errors.Is(err, io.EOF) {
		return err.Error()
	}
	return string(reply[:n])
}

// holdConnections holds 1000 connections. The service closes all above its limit at once.
func holdConnections(socket string) {
	var held []net.Conn
	defer func() {
		for _, c := range held {
			c.Close()
		}
	}()
	for range 1000 {
		c, err := net.Dial("unixpacket", socket)
		if err != nil {
			fmt.Fprintln(os.Stdout, "connect:", err)
			return
		}
		held = append(held, c)
	}
	deadline := time.Now().Add(time.Second) // the service closes an idle connection later
	var open atomic.Int32
	var reads sync.WaitGroup
	for _, c := range held {
		reads.Go(func() {
			_ = c.SetReadDeadline(deadline)
			if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
				open.Add(1)
			}
		})
	}
	reads.Wait()
	if n := open.Load(); n < 100 || n > 320 {
		fmt.Fprintf(os.Stdout, "REACHED %d open connections of 1000, want 320 at most\n", n)
	}
}

// A compromised runner gets only resources of its own attempt, with any request.
func TestAHostileRunnerOnlyUsesItsOwnAttempt(t *testing.T) {
	needRoot(t)
	e := newEnv(t, "", func(o *service.Options) {
		o.Program = "/proc/self/exe"
		o.DiskBytes = 64 << 20
		ownUsers(o)
	})
	victim := run("victim")
	victim.Token = secret.New(waitToken + filepath.Join(e.dir, "victim"))
	if _, err := e.client.Start(t.Context(), victim); err != nil {
		t.Fatal(err)
	}
	attacker := run("attacker")
	attacker.Token = secret.New(attackToken + e.read(t, "victim"))
	ended := must.Get[*buildservice.Attempt](t)(e.client.Start(t.Context(), attacker)).Wait()
	if ended.Error != "" || ended.Output != "done" {
		t.Errorf("attacks: got error %q and\n%s, want each one refused", ended.Error, ended.Output)
	}
}

const (
	waitToken   = "wait:"   // begins the token of a runner that waits
	attackToken = "attack:" // begins the token of a runner that attacks
)

// waitForAttack makes this runner the victim: it writes its directory to a file, and waits.
func waitForAttack(file string) {
	if err := os.WriteFile("secret", []byte("hush"), 0o644); err != nil {
		fmt.Fprintln(os.Stdout, err)
		return
	}
	if err := os.WriteFile(file, []byte(os.Getenv("SLIPWAY_WORKDIR")), 0o644); err != nil {
		fmt.Fprintln(os.Stdout, err)
		return
	}
	_, _ = unix.Read(3, make([]byte, 1)) // until the service ends
}

// attackAttempt tries to reach another attempt from a runner. It prints a line for each attack that was
// not refused, and "done" at the end.
func attackAttempt(dir string) {
	for _, path := range []string{dir, dir + "/secret", dir + "/workspace", filepath.Dir(dir)} {
		if f, err := os.Open(path); err == nil {
			fmt.Fprintln(os.Stdout, "REACHED", path)
			f.Close()
		}
	}
	for _, path := range []string{dir + "/x", dir + "/workspace/x", filepath.Dir(dir) + "/x"} {
		if err := os.WriteFile(path, nil, 0o600); err == nil {
			fmt.Fprintln(os.Stdout, "REACHED", path)
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(processes) == 0 {
		fmt.Fprintln(os.Stdout, "processes:", processes, err)
	}
	for _, process := range processes {
		attackProcess(process)
	}
	attackControl()
	fmt.Fprintln(os.Stdout, "done")
}

// attackProcess tries to read a process of another user, to signal it, and to take its descriptors.
func attackProcess(process string) {
	info, err := os.Stat(process)
	if err != nil || info.Sys().(*syscall.Stat_t).Uid == uint32(os.Getuid()) { //nolint:forcetypeassert // of Linux
		return
	}
	for _, file := range []string{"environ", "mem", "fd", "root/", "cwd/"} {
		if f, err := os.Open(process + "/" + file); err == nil {
			fmt.Fprintln(os.Stdout, "REACHED", process, file)
			f.Close()
		}
	}
	var pid int
	if _, err := fmt.Sscanf(process, "/proc/%d", &pid); err != nil {
		fmt.Fprintln(os.Stdout, err)
		return
	}
	if pid == os.Getpid() {
		return // the runner itself, which has its own PID namespace
	}
	if unix.Kill(pid, 0) == nil {
		fmt.Fprintln(os.Stdout, "REACHED a signal to", process)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // it is in another PID namespace
	}
	defer unix.Close(fd)
	if taken, err := unix.PidfdGetfd(fd, 3, 0); err == nil {
		fmt.Fprintln(os.Stdout, "REACHED a descriptor of", process)
		unix.Close(taken)
	}
}

// attackControl sends wrong messages on the control socket, and then a correct one.
func attackControl() {
	for _, text := range []string{
		`{"id":1}`,
		`{"id":2,"builder":null,"sandbox":null}`,
	} {
		if _, err := unix.Write(3, []byte(text)); err != nil {
			fmt.Fprintln(os.Stdout, "control socket:", err)
		}
		if reply := readControl(); !strings.Contains(reply, "error") {
			fmt.Fprintln(os.Stdout, "REACHED a reply to", text, reply)
		}
	}
	_, _ = unix.Write(3, []byte(`{"id":3,"builder":{},"domain":"domain of victim"}`))
	if reply := readControl(); reply != "" {
		fmt.Fprintln(os.Stdout, "REACHED the builder of another domain:", reply)
	}
}

// readControl returns the next message on the control socket; empty = it is closed.
func readControl() string {
	data := make([]byte, 4096)
	n, err := unix.Read(3, data)
	if err != nil {
		return ""
	}
	return string(data[:n])
}
