package buildkit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestStepPlatforms(t *testing.T) {
	for step, want := range map[string]string{
		"[linux/arm64 2/3] RUN make":            "linux/arm64",
		"[linux/arm/v7 build  2/15] RUN make":   "linux/arm/v7",
		"[linux/amd64 build 2/3] RUN [1/2] x":   "linux/amd64",
		"[linux/amd64->arm64 build 2/3] RUN x":  "linux/amd64",
		"[build 2/3] RUN make":                  "linux/s390x",
		"[2/3] RUN echo [linux/arm64 2/3] here": "linux/s390x",
	} {
		if got := stepPlatforms(step, []string{"linux/s390x"}); len(got) != 1 || got[0] != want {
			t.Errorf("%s: got %q, want %q", step, got, want)
		}
	}
}

func TestExplainExecFormat(t *testing.T) {
	runs := []ocispecs.Platform{platforms.MustParse("linux/amd64"), platforms.MustParse("linux/arm64")}
	for name, c := range map[string]struct {
		wanted []string
		runs   []ocispecs.Platform
		want   string
	}{
		"not emulated":     {[]string{"linux/s390x"}, runs, "RUN for linux/s390x needs emulation"},
		"one of two":       {[]string{"linux/amd64", "linux/s390x"}, runs, "RUN for linux/s390x needs emulation"},
		"the installation": {[]string{"linux/arm/v7"}, nil, "tonistiigi/binfmt --install arm`"},
		"emulated":         {[]string{"linux/arm64"}, runs, "the step's platform linux/arm64 (exec"},
		"both":             {[]string{"linux/arm64", "linux/amd64"}, runs, "the step's platform (exec"},
		"a variant":        {[]string{"linux/386"}, runs, "the step's platform linux/386 (exec"},
		"none":             {nil, runs, "the step's platform (exec"},
		"not a platform":   {[]string{"x/y/z/a"}, nil, "the step's platform x/y/z/a (exec"},
	} {
		if got := explainExecFormat(c.wanted, c.runs); !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q in it", name, got, c.want)
		}
	}
}

// The text counts only in the failed step, in all spellings of runc and shells.
func TestTheFailedStepHasTheExecFormatError(t *testing.T) {
	failed, other := digest.FromString("failed"), digest.FromString("other")
	for name, c := range map[string]struct {
		in   digest.Digest
		text string
		want bool
	}{
		"runc":         {failed, "exec /hello: exec format error\n", true},
		"a shell":      {failed, "/bin/sh: 1: ./x: Exec format error\n", true},
		"another step": {other, "exec /hello: exec format error\n", false},
		"other text":   {failed, "format error\n", false},
	} {
		p := newProgress(nil)
		p.note(&client.SolveStatus{Logs: []*client.VertexLog{{Vertex: c.in, Data: []byte(c.text)}}})
		if p.failedOnProcessor() {
			t.Errorf("%s: got true before the failure, want false", name)
		}
		p.note(
			&client.SolveStatus{
				Vertexes: []*client.Vertex{{Digest: failed, Name: "[2/2] RUN x", Error: "exit code: 1"}},
			},
		)
		if got := p.failedOnProcessor(); got != c.want {
			t.Errorf("%s: got %t, want %t", name, got, c.want)
		}
	}
}

// The error of a RUN step contains its command, which may print BuildKit's other errors.
func TestTheTextOfACommandIsNoReason(t *testing.T) {
	command := `process "/bin/sh -c echo failed to calculate checksum of ref a: b: not found" ` +
		"did not complete successfully: exit code: 1"
	if got := (Request{}).reason(&BuildError{ExitCode: 1, Err: errors.New(command)}, ""); got != "" {
		t.Errorf("reason: got %q, want none", got)
	}
}

// A repository may have a link to a directory of the machine, whose names are not for its log.
func TestReasonsShowNoNamesOutsideOfTheContext(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	for _, name := range []string{"Private", "patterns"} {
		if err := os.WriteFile(filepath.Join(outside, name), []byte("app.js\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "app.js"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"link": outside, ".dockerignore": filepath.Join(outside, "patterns")} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	r := Request{Context: dir, Dockerfile: filepath.Join(dir, "Dockerfile")}
	if got := r.missingReason("link/private", 1); strings.Contains(got, "Private") {
		t.Errorf("a link to a directory: got %q, want no name in it", got)
	}
	if pattern, _ := r.ignoredBy("app.js"); pattern != "" {
		t.Errorf("a link to a file of patterns: got pattern %q, want none", pattern)
	}
}
