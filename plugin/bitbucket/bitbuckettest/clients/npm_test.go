package clients_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// testNPMBitbucket runs npm/calls.mjs with the packages of npm/package-lock.json.
func testNPMBitbucket(t *testing.T, w world) {
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: %s, which is absent (Debian: apt-get install nodejs npm)", tool)
		}
	}
	directory := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "calls.mjs"} {
		content, err := os.ReadFile(filepath.Join("npm", name))
		succeed(t, "read "+name, err)
		succeed(t, "write "+name, os.WriteFile(filepath.Join(directory, name), content, 0o600))
	}
	install := exec.CommandContext(
		t.Context(),
		"npm",
		"ci",
		"--ignore-scripts",
		"--no-audit",
		"--no-fund",
		"--prefer-offline",
	)
	install.Dir = directory
	if out, err := install.CombinedOutput(); err != nil {
		if isUnreachable(out) {
			t.Skipf("SKIPPED: npm's registry, which does not answer\n%s", out)
		}
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	argument, err := json.Marshal(w)
	succeed(t, "encode the world", err)
	calls := exec.CommandContext(t.Context(), "node", "calls.mjs", string(argument))
	calls.Dir = directory
	out, err := calls.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("calls of npm's bitbucket: got %v, want every call to succeed", err)
	}
}

// isUnreachable reports whether npm had no connection to its registry.
func isUnreachable(out []byte) bool {
	for _, code := range []string{"ENOTFOUND", "ECONNREFUSED", "ETIMEDOUT", "EAI_AGAIN", "ENETUNREACH", "ECONNRESET"} {
		if bytes.Contains(out, []byte(code)) {
			return true
		}
	}
	return false
}
