// Package docs_test checks the pages for readers: short sentences, short table cells, and links that
// lead somewhere.
package docs_test

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

const (
	maxWords = 30  // of a sentence
	maxCell  = 160 // characters of a table cell that a reader sees
)

// pages returns the files to check, from this folder.
func pages(t *testing.T) []string {
	t.Helper()
	files := []string{
		"../README.md", "../CHANGELOG.md", "../CONTRIBUTING.md", "../SECURITY.md", "../testdata/attacks/README.md",
	}
	found, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	return append(files, found...)
}

func read(t *testing.T, file string) page {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return parse(string(text))
}

// tooLong returns a line for each sentence and each table cell over its limit.
func tooLong(p page) []string {
	var faults []string
	for _, block := range p.blocks {
		for _, s := range sentences(block) {
			if n := words(s); n > maxWords {
				faults = append(faults, fmt.Sprintf("sentence of %d words, at most %d: %s", n, maxWords, s))
			}
		}
	}
	for _, cell := range p.cells {
		if n := utf8.RuneCountInString(visible(cell)); n > maxCell {
			faults = append(faults, fmt.Sprintf("table cell of %d characters, at most %d: %s", n, maxCell, cell))
		}
	}
	return faults
}

// deadLinks returns the relative links of a page whose file or heading does not exist. anchorsOf returns
// the anchors of a file, and an error if there is no such file.
func deadLinks(file string, p page, anchorsOf func(file string) (map[string]bool, error)) []string {
	var dead []string
	for _, target := range p.links {
		u, err := url.Parse(target)
		if err != nil {
			dead = append(dead, target+": "+err.Error())
			continue
		}
		if u.Scheme != "" {
			continue
		}
		to := file
		if u.Path != "" {
			to = filepath.Join(filepath.Dir(file), u.Path)
		}
		anchors, err := anchorsOf(to)
		switch {
		case err != nil:
			dead = append(dead, target+": "+err.Error())
		case u.Fragment != "" && !anchors[u.Fragment]:
			dead = append(dead, target+": no such heading")
		}
	}
	return dead
}

// anchorsOnDisk reads the anchors of a Markdown file; other files and folders have none.
func anchorsOnDisk(file string) (map[string]bool, error) {
	if filepath.Ext(file) != ".md" {
		_, err := os.Stat(file)
		return nil, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return parse(string(text)).anchors, nil
}

func TestSentencesAndCellsAreShort(t *testing.T) {
	for _, file := range pages(t) {
		for _, fault := range tooLong(read(t, file)) {
			t.Errorf("%s: %s", file, fault)
		}
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	for _, file := range pages(t) {
		for _, fault := range deadLinks(file, read(t, file), anchorsOnDisk) {
			t.Errorf("%s: %s", file, fault)
		}
	}
}

// Every page of this folder can be reached from its index.
func TestTheIndexHasEveryPage(t *testing.T) {
	found, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	links := read(t, "README.md").links
	for _, file := range found {
		if file != "README.md" && !slices.Contains(links, file) {
			t.Errorf("links of README.md: got none to %s, want one", file)
		}
	}
}

// The checks report each fault and accept correct text.
func TestTheChecksFindFaults(t *testing.T) {
	w := func(n int) string { return strings.TrimSpace(strings.Repeat("word ", n)) }
	for name, c := range map[string]struct {
		text string
		want int
	}{
		"thirty words":                      {w(30) + ".", 0},
		"thirty-one words":                  {w(31) + ".", 1},
		"over two lines":                    {w(20) + "\n" + w(11) + ".", 1},
		"two sentences":                     {w(20) + ". " + w(20) + ".", 0},
		"two paragraphs":                    {w(20) + "\n\n" + w(20), 0},
		"list items":                        {"- " + w(20) + "\n- " + w(20), 0},
		"a long list item":                  {"1. " + w(31), 1},
		"a code block":                      {"```\n" + w(40) + "\n```", 0},
		"after a code block":                {"```\n" + w(40) + "\n```\n" + w(31), 1},
		"a code span is one word":           {w(29) + " `slipway gateway --help`.", 0},
		"a full stop in code ends nothing":  {w(16) + " `a. b` " + w(16), 1},
		"a version number ends nothing":     {w(16) + " 3.14 " + w(16), 1},
		"a dash is no word":                 {w(15) + " - " + w(15), 0},
		"a link counts by its text":         {w(29) + " [word](a b c)", 0},
		"a cell of 160":                     {"| " + strings.Repeat("x", 160) + " | y |", 0},
		"a cell of 161":                     {"| " + strings.Repeat("x", 161) + " | y |", 1},
		"a long sentence in a cell":         {"| " + strings.TrimSpace(strings.Repeat("x ", 31)) + " |", 1},
		"a bar in a cell":                   {"| " + strings.Repeat("x", 100) + `\|` + strings.Repeat("x", 100) + " |", 1},
		"the target of a link in a cell":    {"| [x](" + strings.Repeat("x", 200) + ") |", 0},
		"a cell that is one word of code":   {"| `" + strings.Repeat("x", 161) + "` |", 1},
		"the rule below a table's headings": {"|" + strings.Repeat("-", 200) + "|", 0},
	} {
		if got := tooLong(parse(c.text)); len(got) != c.want {
			t.Errorf("%s: got %d faults (%q), want %d", name, len(got), got, c.want)
		}
	}
}

func TestTheChecksFindDeadLinks(t *testing.T) {
	onDisk := map[string]map[string]bool{
		"docs/a.md": {"set-up": true},
		"b.md":      {"whats-new": true},
	}
	anchorsOf := func(file string) (map[string]bool, error) {
		if anchors, found := onDisk[file]; found {
			return anchors, nil
		}
		return nil, os.ErrNotExist
	}
	p := parse("# Set `up`\n[1](#set-up) [2](#down) [3](../b.md#whats-new) [4](../b.md#old) [5](c.md)\n" +
		"`[6](c.md)` [7](https://example.com/x) ![8](b.png)\n```\n[9](c.md)\n```\n<img src=\"x.png\">\n")
	want := []string{
		"#down: no such heading", "../b.md#old: no such heading", "c.md: file does not exist",
		"b.png: file does not exist", "x.png: file does not exist",
	}
	if diff := cmp.Diff(want, deadLinks("docs/a.md", p, anchorsOf)); diff != "" {
		t.Errorf("dead links (-want +got):\n%s", diff)
	}
	if got := slices.Sorted(maps.Keys(p.anchors)); !slices.Equal(got, []string{"set-up"}) {
		t.Errorf("anchors: got %q, want set-up", got)
	}
}
