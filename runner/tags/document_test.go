package tags_test

import (
	"os"
	"strings"
	"testing"

	"slipway/runner/tags"
)

// A user finds the row of a log line by the name in brackets.
func TestTheDocumentHasARowForEachNote(t *testing.T) {
	text, err := os.ReadFile("../../docs/migrate-step.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range tags.Kinds() {
		if n := strings.Count(string(text), "\n| `"+string(kind)+"` |"); n != 1 {
			t.Errorf("rows of %s in the document: got %d, want 1", kind, n)
		}
		if got := (tags.Note{Kind: kind, Text: "text"}).String(); got != "text ["+string(kind)+"]" {
			t.Errorf("log line of the note: got %q, want the kind in brackets at its end", got)
		}
	}
}
