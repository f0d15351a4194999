package runner_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shellWorkspace is a workspace whose Dockerfile has a shell.
func shellWorkspace(t *testing.T, dockerfile string, files map[string]string) string {
	t.Helper()
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("SKIPPED: RUN steps need a static shell, which is absent (Debian: apt-get install busybox-static)")
	}
	files["busybox"] = string(busybox)
	files["Dockerfile"] = "FROM scratch\nCOPY --chmod=755 busybox /bin/sh\nCOPY --chmod=755 busybox /bin/busybox\nENV PATH=/bin\n" + dockerfile
	return workspace(t, files)
}

// From setting to RUN to log line: what is printed of a secret is masked, wherever it came from.
func TestStepGivesRUNItsSecretsAndTheLogMasksThem(t *testing.T) {
	needBuildKit(t)
	dir := shellWorkspace(t, "ARG VERSION\nARG LIST\n"+
		"RUN --mount=type=secret,id=npm --mount=type=secret,id=file --mount=type=secret,id=doc echo \"got $(busybox cat /run/secrets/npm /run/secrets/file /run/secrets/doc)\"\n"+
		"RUN echo \"args $VERSION $LIST via $HTTPS_PROXY\"\n", map[string]string{"etc/token": "file-canary\n", "doc": "document-canary"})
	cmd := step(
		t,
		dir,
		"PLUGIN_REPO=acme/app",
		"PLUGIN_DRY_RUN=true",
		"NPM_TOKEN=npm-canary",
		"VERSION=1.2",
		"https_proxy=http://ci:proxy-canary@127.0.0.1:9",
		"PLUGIN_SECRETS_FROM_ENV=npm=NPM_TOKEN",
		"PLUGIN_SECRETS_FROM_FILE=file=etc/token",
		`PLUGIN_SECRETS=id=doc\,src=doc`,
		"PLUGIN_BUILD_ARGS_FROM_ENV=VERSION",
		`PLUGIN_BUILD_ARGS={"LIST":"1,2"}`,
	)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "canary") {
		t.Fatalf("%v, and the log is to show no canary:\n%s", err, out)
	}
	for _, want := range []string{"secrets     doc, npm, file", "got **********", "args 1.2 1,2 via ****"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the log does not say %q:\n%s", want, out)
		}
	}
	checkNothingLeft(t, cmd)
}

// What a commit links to out of the workspace is not the pipeline's choice.
func TestASecretFileStaysInTheWorkspace(t *testing.T) {
	w := newWorld(t)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := workspace(t, map[string]string{"Dockerfile": "FROM scratch\n", "large": strings.Repeat("x", 500<<10+1)})
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"link": "link", "absent": "absent", "/no/such/file": "cannot be read", "large": "larger than 500 KiB"} {
		_, err := w.alone("CI_WORKSPACE="+dir, "PLUGIN_SECRETS_FROM_FILE=id="+path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "secrets_from_file") {
			t.Errorf("%s: got %v", path, err)
		}
	}
	if _, err := w.alone("CI_WORKSPACE="+dir, "PLUGIN_SECRETS_FROM_FILE=id="+outside); err != nil {
		t.Errorf("an absolute path: %v", err)
	}
	if got := w.builder.requests[0].Options.Secrets; len(got) != 1 || got[0].Value.Reveal() != "canary" {
		t.Errorf("the builder was given %v", got)
	}
}
