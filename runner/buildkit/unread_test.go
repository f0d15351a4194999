package buildkit_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"slipway/config/identity"
	"slipway/runner/buildkit"
)

// asClient is the variable with the address of a builder. With it, the test binary builds a directory there, as
// another user does.
const asClient = "SLIPWAY_TEST_AS_CLIENT"

// buildAlone builds the Dockerfile in a directory. It prints the error and returns an exit code.
func buildAlone(address, dir string) int {
	ctx := context.Background()
	client, err := buildkit.Dial(ctx, address, identity.Identity{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	defer client.Close()
	r := request(dir)
	r.Progress = os.Stderr
	if _, err := client.Build(ctx, r); err != nil {
		fmt.Fprintf(os.Stdout, "%T: %v", err, err)
		return 1
	}
	return 0
}

// A file that the user of the step cannot read fails the build, with its name. BuildKit's own client sends an empty
// file in its place.
func TestAnUnreadableFileFailsTheBuild(t *testing.T) {
	needRoot(t)
	const nobody = 65534
	state := t.TempDir()
	openTo(t, state)
	server := start(t, state, "--socket-group", fmt.Sprint(nobody))
	for name, c := range map[string]struct {
		dockerfile string
		closed     string // the file that cannot be read
		want       string // "" = the build succeeds
	}{
		"a file":                     {"COPY . /c/\n", "dir/s.txt", "dir/s.txt: permission denied: make it readable"},
		"a file by name":             {"COPY dir/s.txt /\n", "dir/s.txt", "dir/s.txt: permission denied"},
		"the target of a link":       {"COPY link /\n", "dir/s.txt", "dir/s.txt: permission denied"},
		"a directory":                {"COPY . /c/\n", "dir", "dir: permission denied"},
		"a directory above":          {"COPY dir/s.txt /\n", "dir", "dir/s.txt: permission denied"},
		".dockerignore":              {"COPY dir /\n", ".dockerignore", ".dockerignore: permission denied"},
		"the Dockerfile":             {"COPY dir /\n", "Dockerfile", "Dockerfile: permission denied"},
		"the Dockerfile's ignores":   {"COPY dir /\n", "Dockerfile.dockerignore", "Dockerfile.dockerignore: permission denied"},
		"an ignored file":            {"COPY . /c/\n", "ignored", ""},
		"a file that no step copies": {"COPY dir /\n", "other", ""},
		"an ignored directory":       {"COPY . /c/\n", "ignored-too", ""},
		"all files can be read":      {"COPY . /c/\n", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{
				"Dockerfile": "FROM scratch\n" + c.dockerfile, ".dockerignore": "ignored*\n",
				"dir/s.txt": "secret", "other": "", "ignored": "", "ignored-too/x": "",
			}
			if c.closed == "Dockerfile.dockerignore" {
				files[c.closed] = ""
			}
			dir := write(t, files)
			openTo(t, dir)
			if err := os.Symlink("dir/s.txt", filepath.Join(dir, "link")); err != nil {
				t.Fatal(err)
			}
			if c.closed != "" {
				if err := os.Chmod(filepath.Join(dir, c.closed), 0); err != nil {
					t.Fatal(err)
				}
			}
			out, err := buildAsUser(t, nobody, server.address, dir)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("build: got error %v: %s", err, out)
			case c.want != "" && !strings.HasPrefix(out, "*buildkit.BuildError: read the build context: "+c.want):
				t.Errorf("build: got %q, error %v, want a BuildError with %q", out, err, c.want)
			}
		})
	}
}

// openTo lets other users reach a directory of a test.
func openTo(t *testing.T, dir string) {
	t.Helper()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
}

// buildAsUser builds a directory as another user. It returns the error's type and text.
func buildAsUser(t *testing.T, user uint32, address, dir string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", dir)
	cmd.Env = []string{asClient + "=" + address, "PATH=" + os.Getenv("PATH"), "HOME=/"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil && len(out) == 0 {
		t.Fatalf("client: %v\n%s", err, &log)
	}
	return string(out), err
}
