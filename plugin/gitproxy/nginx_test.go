package gitproxy_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipway/config/loopback"
)

// TestFetchBehindNginx runs nginx with the lines of docs/operations.md in front of the gateway.
func TestFetchBehindNginx(t *testing.T) {
	e := newEnv(t)
	e.startNginx()
	if _, err := e.fetch(); err != nil {
		t.Errorf("fetch through nginx: got %v, want the tree", err)
	}
	for i := range 3 {
		e.commit = e.push(map[string]string{"n": fmt.Sprint(i)})
	}
	work := filepath.Join(t.TempDir(), "work")
	for _, args := range [][]string{
		{"clone", "-q", "--depth=1", e.url(), work},
		{"-C", work, "fetch", "-q", "--unshallow"},
	} {
		if out, err := e.git(args...); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	// The gateway must get paths unchanged: a proxy that cleans them hides the requested path.
	for _, rest := range []string{"/" + refs, "/." + refs, "/%2e" + refs} {
		if resp := e.do(http.MethodGet, rest, nil); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: got status %d, want 403 of the gateway", rest, resp.StatusCode)
		}
	}
	// The default limit of nginx is 1 MiB.
	if resp := e.do(http.MethodPost, pack, bytes.Repeat([]byte("0000"), 1<<19)); resp.StatusCode != http.StatusOK {
		t.Errorf("a body of 2 MiB: got status %d, want 200", resp.StatusCode)
	}
}

// startNginx starts nginx in front of the gateway, and sets e.gateway.URL to nginx's address.
func (e *env) startNginx() {
	e.t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		e.t.Skip("SKIPPED: nginx is not installed (Debian package nginx-light)")
	}
	address, err := loopback.FreeAddress(e.t.Context())
	e.must(err)
	dir := e.t.TempDir()
	config := filepath.Join(dir, "nginx.conf")
	e.must(os.WriteFile(config, []byte(e.nginxConfig(dir, address)), 0o600))
	cmd := exec.CommandContext(e.t.Context(), program, "-p", dir, "-c", config)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	e.must(cmd.Start())
	e.t.Cleanup(func() {
		_ = cmd.Wait() // the test's context has ended it
		if e.t.Failed() {
			e.t.Logf("nginx printed: %s", output.String())
		}
	})
	e.waitListening(address)
	e.gateway.URL = "http://" + address
}

// waitListening returns when a server accepts connections at the address, and fails the test after
// ten seconds.
func (e *env) waitListening(address string) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			e.t.Fatalf("nginx does not listen on %s: %v", address, err)
		}
	}
}

// nginxConfig returns the documented configuration with the addresses of this test.
func (e *env) nginxConfig(dir, address string) string {
	e.t.Helper()
	page, err := os.ReadFile("../../docs/operations.md")
	e.must(err)
	_, after, found := strings.Cut(string(page), "```nginx\n")
	server, _, closed := strings.Cut(after, "```")
	if !found {
		e.t.Fatal("configuration for nginx in docs/operations.md: got none, want one")
	}
	if !closed {
		e.t.Fatal("configuration for nginx in docs/operations.md: got no end, want one")
	}
	server = strings.ReplaceAll(server, "http://127.0.0.1:8080", e.gateway.URL)
	server = strings.Replace(server, "server {", "server {\n    listen "+address+";", 1)
	temporary := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temporary += fmt.Sprintf("    %s_temp_path %s/%s;\n", kind, dir, kind)
	}
	return fmt.Sprintf(
		"daemon off;\nmaster_process off;\npid %s/pid;\nerror_log stderr;\nevents {}\nhttp {\n    access_log off;\n%s%s}\n",
		dir,
		temporary,
		server,
	)
}
