package clients_test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// world is the line that fakebitbucket prints.
type world struct {
	URL          string `json:"url"`
	Token        string `json:"token"`
	RefreshToken string `json:"refresh_token"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	Email        string `json:"email"`
	APIToken     string `json:"api_token"`
	User         string `json:"user"`
	Repository   string `json:"repository"`
	First        string `json:"first"`
	Second       string `json:"second"`
	Topic        string `json:"topic"`
	Tags         int    `json:"tags"`
	PullRequest  int    `json:"pull_request"`
}

// Each client has a server of its own.
func TestClients(t *testing.T) {
	program := build(t)
	t.Run("go-scm", func(t *testing.T) { testGoSCM(t, start(t, program)) })
	t.Run("go-bitbucket", func(t *testing.T) { testGoBitbucket(t, start(t, program)) })
	t.Run("npm bitbucket", func(t *testing.T) { testNPMBitbucket(t, start(t, program)) })
	t.Run("rate limit", func(t *testing.T) { testRateLimit(t, start(t, program, "-request-limit", "2")) })
}

// build builds fakebitbucket in the main module, which is two directories up from here.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "fakebitbucket")
	command := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./fakebitbucket")
	command.Dir = ".." // a directory of the main module
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build fakebitbucket: %v\n%s", err, out)
	}
	return program
}

// start starts the program. It ends with the test.
func start(t *testing.T, program string, args ...string) world {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, args...)
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // the program ends with its standard input
		_ = command.Wait()
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("fakebitbucket printed no URL: %v", err)
	}
	var w world
	if err := json.Unmarshal(line, &w); err != nil {
		t.Fatalf("fakebitbucket printed %q: %v", line, err)
	}
	return w
}

// equal reports a value that is not the wanted one.
func equal[T comparable](t *testing.T, name string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", name, got, want)
	}
}

// succeed ends the test if a call failed.
func succeed(t *testing.T, call string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: got error %v, want none", call, err)
	}
}
