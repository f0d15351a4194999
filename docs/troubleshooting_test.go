package docs_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"slipway/runner/settings"
)

// Readers search for messages, so the page must quote the current ones.
func TestTroubleshootingQuotesTheProgram(t *testing.T) {
	code := sources(t)
	quoted := 0
	p := read(t, "troubleshooting.md")
	for _, cell := range p.cells {
		if !strings.HasPrefix(cell, "`") || strings.Count(cell, "`") != 2 {
			continue
		}
		quoted++
		for part := range strings.SplitSeq(strings.Trim(cell, "`"), "…") {
			if !strings.Contains(code, strings.TrimSpace(part)) {
				t.Errorf("troubleshooting.md quotes %q: got no message with %q in the program, want one", cell, part)
			}
		}
	}
	if quoted < 30 {
		t.Errorf("got %d messages in troubleshooting.md, want 30 at least", quoted)
	}
}

// sources returns the text of all Go files but tests, without the quoting of string literals, and the
// messages about missing settings.
func sources(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, root := range []string{"../config", "../plugin", "../runner"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			all.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	all.WriteString(missingSettings())
	joined := regexp.MustCompile(`" ?\+\n\t*"`).ReplaceAllString(all.String(), "") // literals on several lines
	return strings.ReplaceAll(joined, `\"`, `"`)
}

// missingSettings returns the messages about missing settings, whose parts are in different places of
// the code.
func missingSettings() string {
	_, runner := settings.Read(noVariables{})
	_, join := settings.ReadPipelineRequest(noVariables{})
	_, step := settings.ReadPlugin(noVariables{})
	return errors.Join(runner, join, step).Error()
}

// noVariables is an empty environment.
type noVariables struct{}

func (noVariables) Environ() []string     { return nil }
func (noVariables) Unsetenv(string) error { return nil }
