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

func TestStepLeavesFiles(t *testing.T) {
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
		t.Fatalf("step: %v\n%s", err, log)
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
		got, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			t.Errorf("%s: got error %v, want nil", path, err)
			continue
		}
		if got := string(got); got != want {
			t.Errorf("%s: content: got %v, want %v", path, got, want)
		}
	}
	text, err := os.ReadFile(card)
	if err != nil {
		t.Fatal(err)
	}
	checkCard(t, text, image, digest)
	if left, _ := filepath.Glob(filepath.Join(dir, "out/.*")); len(left) != 0 {
		t.Errorf("temporary files: got %v, want none", left)
	}
}

// Drone's runner takes the card out of the step's output.
func TestStepShowsACard(t *testing.T) {
	e := newEnv(t)
	log, err := e.run("DRONE_CARD_PATH=/dev/stdout", "PLUGIN_TAGS=1.2,latest")
	_, rest, found := strings.Cut(log, "\x1b]1338;")
	encoded, _, ended := strings.Cut(rest, "\x1b]0m\n")
	text, decodeErr := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	if !found {
		t.Fatalf("log: got:\n%s\nwant a card in it", log)
	}
	if !ended {
		t.Fatalf("card: got no end, want one:\n%s", log)
	}
	if decodeErr != nil {
		t.Fatalf("decode the card: %v\n%s", decodeErr, log)
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
	if err != nil {
		t.Fatalf("step: %v", err)
	}
	if card.Schema != "https://drone-plugins.github.io/drone-docker/card.json" {
		t.Errorf(
			"schema of the card: got %q, want %q",
			card.Schema,
			"https://drone-plugins.github.io/drone-docker/card.json",
		)
	}
	if d.ID != digest {
		t.Errorf("ID in the card: got %v, want %v", d.ID, digest)
	}
	if got := len(d.ParsedRepoTags); got != 2 {
		t.Errorf("tags in the card: got %v, want %v", got, 2)
	}
	if d.ParsedRepoTags[1].Tag != image+":latest" {
		t.Errorf("second tag in the card: got %v, want %v", d.ParsedRepoTags[1].Tag, image+":latest")
	}
	if d.SizeString != "42B" {
		t.Errorf("size in the card: got %q, want %q", d.SizeString, "42B")
	}
	if d.RepoDigests[0] != image+"@"+digest {
		t.Errorf("digest in the card: got %v, want %v", d.RepoDigests[0], image+"@"+digest)
	}
}

func TestStepFilesThatCannotBeWrittenNameTheSetting(t *testing.T) {
	e := newEnv(t)
	dir := runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM scratch\n", "file": ""})
	for _, setting := range []string{"PLUGIN_ARTIFACT_FILE", "PLUGIN_METADATA_FILE", "PLUGIN_DIGEST_FILE"} {
		for _, path := range []string{"file/below.json", ".", "/proc/no/such.json"} {
			log, err := e.run("CI_WORKSPACE="+dir, setting+"="+path)
			if err == nil {
				t.Errorf("step: got no error, want one\n%s", log)
				continue
			}
			if !strings.HasPrefix(err.Error(), setting+": ") {
				t.Errorf("step: got error %q, want the prefix %q", err, setting+": ")
			}
			runnertest.CheckHas(t, "the error", err.Error(), "set a path that this step can write to")
		}
	}
	if len(e.Builder.Requests) != 0 {
		t.Errorf("builds with a result file that cannot be written: got %d, want 0", len(e.Builder.Requests))
	}
	log, err := e.run("DRONE_CARD_PATH=/proc/no/such.json")
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	runnertest.CheckHas(t, "the log", log, "the card was not written (DRONE_CARD_PATH)")
}

func TestStepDryRunPublishesNothingInItsFiles(t *testing.T) {
	e := newEnv(t)
	dir := runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	if log, err := e.run(
		"CI_WORKSPACE="+dir,
		"PLUGIN_DRY_RUN=true",
		"PLUGIN_ARTIFACT_FILE=a",
		"PLUGIN_DIGEST_FILE=d",
	); err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	artifact, _ := os.ReadFile(filepath.Join(dir, "a"))
	digest, _ := os.ReadFile(filepath.Join(dir, "d"))
	runnertest.CheckHas(t, "string(artifact)", string(artifact), `"images":[]`)
	if !strings.HasPrefix(string(digest), "sha256:") {
		t.Errorf("digest file: got %q, want the prefix %q", digest, "sha256:")
	}
}

// The image is published by then, so a file that cannot be written fails no step. A later step must not
// read the file of an earlier one.
func TestStepWhoseFilesFailAfterThePush(t *testing.T) {
	e := newEnv(t)
	dir := runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM scratch\n", "digest.txt": "sha256:old"})
	if err := os.Mkdir(filepath.Join(dir, "out"), 0o755); err != nil {
		t.Fatal(err)
	}
	e.Builder.OnUpload = func() {
		if err := os.Remove(filepath.Join(dir, "out")); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "out"), nil, 0o600); err != nil {
			t.Error(err)
		}
	}
	log, err := e.run("CI_WORKSPACE="+dir, "PLUGIN_METADATA_FILE=out/metadata.json", "PLUGIN_DIGEST_FILE=digest.txt")
	if err != nil {
		t.Fatalf("step: got error %v, want nil\n%s", err, log)
	}
	runnertest.CheckHas(t, "the log", log, "note: result files: PLUGIN_METADATA_FILE: ")
	got, err := os.ReadFile(filepath.Join(dir, "digest.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(got), e.Registry.Tag("latest"); got != want {
		t.Errorf("digest file: got %q, want %q", got, want)
	}
}
