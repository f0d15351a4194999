package buildkit_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/runner/hints"
)

// BuildKit's names of steps match the Dockerfile, so hints can be found for them.
func TestStepNamesMatchTheDockerfile(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	text := shellStage + "COPY a /a\nRUN cat /a\nCOPY b /b\n"
	dir := withShell(t, write(t, map[string]string{"Dockerfile": text, "a": "1", "b": "same"}))
	if found := hints.Find([]byte(text), build(t, client, request(dir)).Ran); len(found) != 0 {
		t.Errorf("hints of the first build: got %+v, want none", found)
	}
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("2"), 0o644); err != nil {
		t.Fatal(err)
	}
	second := build(t, client, request(dir))
	found := hints.Find([]byte(text), second.Ran)
	if len(found) != 1 {
		t.Fatalf("got hints %+v for %+v, want one", found, second.Ran)
	}
	if want := strings.Count(text, "\n"); found[0].Line != want {
		t.Errorf("got a hint for line %d, want %d", found[0].Line, want)
	}
	if want := "COPY --link"; !strings.Contains(found[0].Text, want) {
		t.Errorf("got hint %q, want %q in it", found[0].Text, want)
	}
}
