package text_test

import (
	"testing"

	"slipway/config/text"
)

func TestOneLine(t *testing.T) {
	for _, c := range []struct {
		given string
		max   int
		want  string
	}{
		{" a\n\tb  c ", 0, "a b c"},
		{"abcdef", 6, "abcdef"},
		{"abcdefg", 6, "abcdef…"},
		{"aé", 2, "a…"},
	} {
		if got := text.OneLine(c.given, c.max); got != c.want {
			t.Errorf("OneLine(%q, %d): got %q, want %q", c.given, c.max, got, c.want)
		}
	}
}

func TestFirstLine(t *testing.T) {
	if got := text.FirstLine("\n Fix \x1b[2Jit\nbody"); got != "Fix [2Jit" {
		t.Errorf(`FirstLine: got %q, want "Fix [2Jit"`, got)
	}
}

func TestShort(t *testing.T) {
	if got := text.Short("0123456789abcdef"); got != "0123456789ab" {
		t.Errorf(`Short of a long commit: got %q, want "0123456789ab"`, got)
	}
	if got := text.Short("v1"); got != "v1" {
		t.Errorf(`Short of v1: got %q, want "v1"`, got)
	}
}

func TestPlural(t *testing.T) {
	for n, want := range map[int]string{0: "0 tags", 1: "1 tag", 2: "2 tags"} {
		if got := text.Plural(n, "tag"); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func TestLastLinesKeepsWholeLines(t *testing.T) {
	last := &text.LastLines{Limit: 8}
	for _, line := range []string{"first\n", "second\n", "third\n"} {
		if n, err := last.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatalf("Write: got %d, error %v, want %d", n, err, len(line))
		}
	}
	if got := string(last.Bytes()); got != "third\n" {
		t.Errorf("last lines: got %q, want the last line only", got)
	}
}
