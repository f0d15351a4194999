package buildkit_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipway/runner/buildkit"
	"slipway/runner/spec"
)

func TestNamedContextsLimitsAndSharedMemoryReachTheBuild(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	r := request(withShell(t, write(t, map[string]string{"Dockerfile": shellStage +
		"COPY --from=lib /code /code\n" +
		"RUN --mount=from=lib,target=/lib [ \"$(busybox cat /lib/code)\" = lib ] && busybox cmp /code /lib/code\n" +
		"RUN [ \"$(ulimit -Sn)\" = 1024 ] && [ \"$(ulimit -Hn)\" = 2048 ]\n" +
		"RUN busybox df -k /dev/shm | busybox grep -q ' 32768 '\n"})))
	r.Options.Contexts = []spec.NamedContext{{Name: "lib", Dir: write(t, map[string]string{"code": "lib"})}}
	r.Options.Ulimits = []string{"nofile=1024:2048"}
	r.Options.ShmSize = 32 << 20
	var log bytes.Buffer
	r.Progress = &log
	if _, err := client.Build(t.Context(), r); err != nil {
		t.Errorf("build: %v\n%s", err, &log)
	}
}

// The content of a named context decides, and not the size and the date of its files.
func TestTheContentOfANamedContextDecides(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	r := request(withShell(t, write(t, map[string]string{"Dockerfile": shellStage +
		"COPY --from=lib /code /code\nRUN echo \"content: $(busybox cat /code)\"\n"})))
	r.SharedKey = "acme/app"
	for _, content := range []string{"one", "two"} {
		dir := write(t, map[string]string{"code": content})
		if err := os.Chtimes(
			filepath.Join(dir, "code"),
			time.Unix(1700000000, 0),
			time.Unix(1700000000, 0),
		); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		r.Progress = &log
		r.Options.Contexts = []spec.NamedContext{{Name: "lib", Dir: dir}}
		if _, err := client.Build(t.Context(), r); err != nil {
			t.Fatalf("build: %v\n%s", err, &log)
		}
		if want := "content: " + content; !strings.Contains(log.String(), want) {
			t.Errorf("log: got:\n%s\nwant %q in it", &log, want)
		}
	}
}

// A builder of this program isolates its RUN steps, so it grants no right.
func TestABuilderGrantsNoRights(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	r := request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"}))
	for _, right := range []string{spec.AllowHostNetwork, spec.AllowInsecure, spec.AllowDevice} {
		r.Options.Allow = []string{right}
		_, err := client.Build(t.Context(), r)
		if want := "entitlement " + right + " is not allowed by build daemon configuration"; err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %q in it", right, err, want)
		}
	}
}

// Without an export BuildKit runs the steps, and compresses no layer.
func TestABuildWithoutExportMakesNoImage(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	r := request(withShell(t, write(t, map[string]string{"Dockerfile": shellStage + "RUN echo x > /x\n"})))
	r.NoExport = true
	var log bytes.Buffer
	r.Progress = &log
	built, err := client.Build(t.Context(), r)
	if err != nil {
		t.Fatalf("build: %v\n%s", err, &log)
	}
	if built.Digest != "" {
		t.Errorf("digest: got %s, want none", built.Digest)
	}
	checkSteps(t, built, 3, 0)
	if strings.Contains(log.String(), "exporting") {
		t.Errorf("log: got:\n%s\nwant no export in it", &log)
	}
	r.NoExport = false
	checkSteps(t, build(t, client, r), 3, 3)
	failing := request(withShell(t, write(t, map[string]string{"Dockerfile": shellStage + "RUN exit 3\n"})))
	failing.NoExport = true
	var blame *buildkit.BuildError
	if _, err := client.Build(t.Context(), failing); !errors.As(err, &blame) || blame.ExitCode != 3 {
		t.Errorf("a failing RUN: got error %v, want a BuildError with exit code 3", err)
	}
}

func TestChecksOfADockerfile(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	for _, c := range []struct {
		name, dockerfile string
		fails            bool
		want             string // in the log
	}{
		{"no problem", "FROM scratch\nCOPY Dockerfile /\n", false, "the checks of the Dockerfile found no problem"},
		{"a warning", "FROM scratch as base\nCOPY Dockerfile /\n", true, "WARNING: FromAsCasing"},
		{"no Dockerfile at all", "FORM scratch\n", true, "unknown instruction: FORM"},
	} {
		r := request(write(t, map[string]string{"Dockerfile": c.dockerfile}))
		r.Check = true
		var log bytes.Buffer
		r.Progress = &log
		_, err := client.Build(t.Context(), r)
		var blame *buildkit.BuildError
		if failed := errors.As(err, &blame); failed != c.fails || err != nil && !failed {
			t.Errorf("%s: got error %v, want a BuildError: %t\n%s", c.name, err, c.fails, &log)
		}
		if got := log.String(); !strings.Contains(got, c.want) &&
			(err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got error %v and log:\n%s\nwant %q in one of them", c.name, err, got, c.want)
		}
	}
}
