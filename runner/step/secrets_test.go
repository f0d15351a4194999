package step_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/runner/runnertest"
)

// The pipeline does not choose the target of a commit's link out of the workspace.
func TestASecretFileStaysInTheWorkspace(t *testing.T) {
	e := newEnv(t)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := runnertest.Workspace(
		t,
		map[string]string{"Dockerfile": "FROM scratch\n", "large": strings.Repeat("x", 500<<10+1)},
	)
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"link": "link", "absent": "absent", "/no/such/file": "cannot be read", "large": "larger than 500 KiB"} {
		_, err := e.run("CI_WORKSPACE="+dir, "PLUGIN_SECRETS_FROM_FILE=id="+path)
		if err == nil {
			t.Errorf("%s: got no error, want one", path)
			continue
		}
		runnertest.CheckHas(t, path+": the error", err.Error(), want)
		runnertest.CheckHas(t, path+": the error", err.Error(), "secrets_from_file")
	}
	if _, err := e.run("CI_WORKSPACE="+dir, "PLUGIN_SECRETS_FROM_FILE=id="+outside); err != nil {
		t.Errorf("an absolute path: %v", err)
	}
	secrets := e.Builder.Requests[0].Options.Secrets
	if len(secrets) != 1 {
		t.Fatalf("got %d secrets, want 1", len(secrets))
	}
	if got := secrets[0].Value.Reveal(); got != "canary" {
		t.Errorf("secret: got %q, want canary", got)
	}
}
