package buildkit_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/runner/hints"
)

// What BuildKit ran is what hints are found by: its names of steps fit the Dockerfile.
func TestStepsThatRanFitTheDockerfile(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	text := shellStage + "COPY a /a\nRUN cat /a\nCOPY b /b\n"
	dir := withShell(t, write(t, map[string]string{"Dockerfile": text, "a": "1", "b": "same"}))
	if found := hints.Find([]byte(text), build(t, client, request(dir)).Ran); len(found) != 0 {
		t.Errorf("of the first build: %+v", found)
	}
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("2"), 0o644); err != nil {
		t.Fatal(err)
	}
	second := build(t, client, request(dir))
	found := hints.Find([]byte(text), second.Ran)
	if want := strings.Count(
		text,
		"\n",
	); len(found) != 1 || found[0].Line != want ||
		!strings.Contains(found[0].Text, "COPY --link") {
		t.Errorf("got %+v of %+v, want COPY --link in line %d", found, second.Ran, want)
	}
}
