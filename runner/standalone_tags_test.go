package runner_test

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// onRef is what Drone and Woodpecker both say of a ref of a repository whose default branch
// is main.
func onRef(ref string) []string {
	return []string{
		"DRONE_COMMIT_REF=" + ref,
		"CI_COMMIT_REF=" + ref,
		"DRONE_REPO_BRANCH=main",
		"CI_REPO_DEFAULT_BRANCH=main",
	}
}

// tags are all that the registry has of the image.
func (w *world) tags() string {
	w.t.Helper()
	repository, err := name.NewRepository(w.image(), name.Insecure)
	if err != nil {
		w.t.Fatal(err)
	}
	all, err := remote.List(repository)
	if err != nil {
		return ""
	}
	return strings.Join(all, " ")
}

func TestStandaloneMakesTheTagsOfARelease(t *testing.T) {
	w := newWorld(t)
	log, err := w.alone(append(onRef("refs/tags/v1.2.3+5"), "PLUGIN_AUTO_TAG=true", "PLUGIN_TAGS=latest,abc")...)
	if err != nil || w.tags() != "1.2.3_5 abc" {
		t.Errorf("%v, tags %q", err, w.tags())
	}
	for _, want := range []string{"1.2.3_5, abc (PLUGIN_AUTO_TAG, PLUGIN_TAGS)", `tags: "1.2.3+5" is pushed as "1.2.3_5"`, "[plus]", "tags: latest is not moved (tag ", "[latest-prerelease]", "pushed  1.2.3_5, abc"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
}

// A branch that auto_tag makes no tags of ends well, before anything is asked or built.
func TestStandaloneSkipsABranchThatAutoTagLeavesOut(t *testing.T) {
	for _, mode := range []string{"docker", "buildx", "slipway"} {
		w := newWorld(t)
		w.registry.set(
			func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { t.Errorf("%s %s", r.Method, r.URL) },
		)
		log, err := w.alone(
			append(onRef("refs/heads/feature/x"), "PLUGIN_AUTO_TAG=true", "PLUGIN_AUTO_TAG_MODE="+mode)...)
		if err != nil || len(w.builder.requests) != 0 ||
			!strings.Contains(
				log,
				"skipped: auto_tag makes tags of the default branch and of Git tags alone: this is branch \"feature/x\"",
			) {
			t.Errorf("%s: %v, %d builds\n%s", mode, err, len(w.builder.requests), log)
		}
	}
}

func TestStandaloneBuildsABranchWithoutTagsAndPushesNothing(t *testing.T) {
	w := newWorld(t)
	w.registry.set(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { t.Errorf("%s %s", r.Method, r.URL) })
	log, err := w.alone(onRef("refs/heads/feature/x")...)
	if err != nil || len(w.builder.requests) != 1 || !strings.Contains(log, "[latest-unnamed]") ||
		!strings.Contains(log, "none: there is no tag to push") {
		t.Errorf("%v, %d builds\n%s", err, len(w.builder.requests), log)
	}
}

// The program, a real BuildKit and a registry: a Git tag in each mode, a file .tags of an
// earlier step, and a branch that is left out.
func TestStepPushesTheTagsOfItsMode(t *testing.T) {
	needBuildKit(t)
	for _, c := range []struct {
		ref, files, want, says string
		environ                []string
	}{
		{ref: "refs/tags/v1.2.3", want: "1 1.2 1.2.3 latest", environ: []string{"PLUGIN_AUTO_TAG=true", "PLUGIN_AUTO_TAG_MODE=buildx"}, says: "pushed  1, 1.2, 1.2.3, latest"},
		{ref: "refs/heads/main", files: "5.2.6,5.2.4\n", want: "5.2.4 5.2.6", says: "5.2.6, 5.2.4 (.tags)"},
		{ref: "refs/heads/feature/x", want: "", environ: []string{"PLUGIN_AUTO-TAG=true"}, says: "skipped: "},
	} {
		w := newWorld(t)
		files := map[string]string{"Dockerfile": "FROM scratch\nCOPY greeting /greeting\n", "greeting": "hello\n"}
		if c.files != "" {
			files[".tags"] = c.files
		}
		cmd := step(
			t,
			workspace(t, files),
			append(append(onRef(c.ref), "PLUGIN_REPO="+w.image(), "PLUGIN_INSECURE=true"), c.environ...)...)
		out, err := cmd.CombinedOutput()
		if err != nil || w.tags() != c.want || !strings.Contains(string(out), c.says) {
			t.Errorf("%s: %v, exit code %d, tags %q, want %q\n%s", c.ref, err, exitCode(cmd), w.tags(), c.want, out)
		}
		checkNothingLeft(t, cmd)
	}
}

func exitCode(cmd *exec.Cmd) int {
	if cmd.ProcessState == nil {
		return -1
	}
	return cmd.ProcessState.ExitCode()
}
