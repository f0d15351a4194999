package buildkit_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/config/identity"
	"slipway/runner/buildkit"
)

// asExec makes the test binary behave like docker and kubectl when they run BuildKit's `buildctl
// dial-stdio` in a container. It copies between its standard streams and this socket.
const asExec = "SLIPWAY_TEST_AS_EXEC"

func dialStdio(socket string) int {
	want := map[string]string{
		"docker":  "--context=remote exec -i builder0 buildctl dial-stdio",
		"kubectl": "--context= --namespace=ci exec --container=buildkitd -i builder-0 -- buildctl dial-stdio",
	}[filepath.Base(os.Args[0])]
	if got := strings.Join(os.Args[1:], " "); got != want {
		_, _ = os.Stderr.WriteString("called with " + got)
		return 1
	}
	conn, err := new(net.Dialer).DialContext(context.Background(), "unix", socket)
	if err != nil {
		return 1
	}
	go func() { _, _ = io.Copy(conn, os.Stdin) }()
	_, _ = io.Copy(os.Stdout, conn)
	return 0
}

func TestABuilderInAContainerIsReachedByDockerOrKubectl(t *testing.T) {
	needBuildKit(t)
	server := start(t, t.TempDir())
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	for _, name := range []string{"docker", "kubectl"} {
		if err := os.Symlink(self, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	t.Setenv(asExec, strings.TrimPrefix(server.address, "unix://"))
	r := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "a"}))
	for _, address := range []string{"docker-container://builder0?context=remote", "kube-pod://builder-0?namespace=ci&container=buildkitd"} {
		client, err := buildkit.Dial(t.Context(), address, identity.Identity{})
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		if built := build(t, client, r); !strings.HasPrefix(built.Digest, "sha256:") {
			t.Errorf("%s: got %+v, want a SHA-256 digest in it", address, built)
		}
		_ = client.Close()
	}
	t.Setenv("PATH", t.TempDir())
	_, err = buildkit.Dial(t.Context(), "docker-container://builder0", identity.Identity{})
	if err == nil || !strings.Contains(err.Error(), "executable file not found") {
		t.Errorf("without docker: got %v, want that the executable is not found", err)
	}
}
