package step_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/runner/runnertest"
)

func TestStandaloneLeavesFiles(t *testing.T) {
	e := newEnv(t)
	dir := runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM scratch\n", "elsewhere": "kept"})
	if err := os.Symlink("elsewhere", filepath.Join(dir, "digest.txt")); err != nil {
		t.Fatal(err)
	}
	card := filepath.Join(t.TempDir(), "card.json")
	log, err := e.run(
		"CI_WORKSPACE="+dir,
		"PLUGIN_TAGS=1.2,latest",
		"PLUGIN_ARTIFACT_FILE=out/artifact.json",
		"PLUGIN_METADATA_FILE="+filepath.Join(dir, "out/metadata.json"),
		"PLUGIN_DIGEST_FILE=digest.txt",
		"PLUGIN_REGISTRY_TYPE=ECR",
		"DRONE_CARD_PATH="+card,
	)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	image, digest := e.Registry.Image(), e.Registry.Tag("1.2")
	host, _, _ := strings.Cut(image, "/")
	for path, want := range map[string]string{
		"out/artifact.json": fmt.Sprintf(`{"kind":"docker/v1","data":{"registryType":"ECR","registryUrl":%q,"images":[{"image":"%s:1.2","digest":%q},{"image":"%s:latest","digest":%q}]}}`,
			host, image, digest, image, digest),
		"out/metadata.json": fmt.Sprintf(`{"containerimage.digest":%q,"image.name":"%s:1.2,%s:latest"}`, digest, image, image),
		"digest.txt":        digest,
		"elsewhere":         "kept", // a link that the repository brings is not followed
	} {
		if got, err := os.ReadFile(filepath.Join(dir, path)); err != nil || string(got) != want {
			t.Errorf("%s: %v\n got %s\nwant %s", path, err, got, want)
		}
	}
	text, err := os.ReadFile(card)
	if err != nil {
		t.Fatal(err)
	}
	checkCard(t, text, image, digest)
	if left, _ := filepath.Glob(filepath.Join(dir, "out/.*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Drone's runner takes the card out of the step's output.
func TestStandaloneShowsACard(t *testing.T) {
	e := newEnv(t)
	log, err := e.run("DRONE_CARD_PATH=/dev/stdout", "PLUGIN_TAGS=1.2,latest")
	_, rest, found := strings.Cut(log, "\x1b]1338;")
	encoded, _, ended := strings.Cut(rest, "\x1b]0m\n")
	text, decodeErr := base64.StdEncoding.DecodeString(encoded)
	if err != nil || !found || !ended || decodeErr != nil {
		t.Fatalf("%v, %v\n%s", err, decodeErr, log)
	}
	checkCard(t, text, e.Registry.Image(), e.Registry.Tag("1.2"))
}

func checkCard(t *testing.T, text []byte, image, digest string) {
	t.Helper()
	var card struct {
		Schema string
		Data   struct {
			ID             string `json:"Id"`
			RepoDigests    []string
			ParsedRepoTags []struct{ Tag string }
			SizeString     string
		}
	}
	err := json.Unmarshal(text, &card)
	d := card.Data
	if err != nil || card.Schema != "https://drone-plugins.github.io/drone-docker/card.json" || d.ID != digest || len(d.ParsedRepoTags) != 2 ||
		d.ParsedRepoTags[1].Tag != image+":latest" || d.SizeString != "42B" ||
		d.RepoDigests[0] != image+"@"+digest {
		t.Errorf("%v: %s", err, text)
	}
}

func TestStandaloneFilesThatCannotBeWrittenNameTheSetting(t *testing.T) {
	e := newEnv(t)
	dir := runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM scratch\n", "file": ""})
	for _, setting := range []string{"PLUGIN_ARTIFACT_FILE", "PLUGIN_METADATA_FILE", "PLUGIN_DIGEST_FILE"} {
		for _, path := range []string{"file/below.json", ".", "/proc/no/such.json"} {
			log, err := e.run("CI_WORKSPACE="+dir, setting+"="+path)
			if err == nil || !strings.HasPrefix(err.Error(), setting+": ") ||
				!strings.Contains(err.Error(), "give a path that this step may write") {
				t.Errorf("%s=%s: got %v\n%s", setting, path, err, log)
			}
		}
	}
	if len(e.Builder.Requests) != 0 {
		t.Error("a build was started whose result could not be written")
	}
	if log, err := e.run(
		"DRONE_CARD_PATH=/proc/no/such.json",
	); err != nil ||
		!strings.Contains(log, "the card was not written (DRONE_CARD_PATH)") {
		t.Errorf("a card fails the step: %v\n%s", err, log)
	}
}

func TestStandaloneDryRunPublishesNothingInItsFiles(t *testing.T) {
	e := newEnv(t)
	dir := runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	if log, err := e.run(
		"CI_WORKSPACE="+dir,
		"PLUGIN_DRY_RUN=true",
		"PLUGIN_ARTIFACT_FILE=a",
		"PLUGIN_DIGEST_FILE=d",
	); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	artifact, _ := os.ReadFile(filepath.Join(dir, "a"))
	digest, _ := os.ReadFile(filepath.Join(dir, "d"))
	if !strings.Contains(string(artifact), `"images":[]`) || !strings.HasPrefix(string(digest), "sha256:") {
		t.Errorf("artifact %s, digest %s", artifact, digest)
	}
}
