package docs_test

import (
	"regexp"
	"strings"
	"unicode"
)

var (
	fence      = regexp.MustCompile("^\\s*```")
	heading    = regexp.MustCompile(`^#{1,6} +(.*)$`)
	listItem   = regexp.MustCompile(`^\s*(?:[-*]|\d+\.) +`)
	tableRule  = regexp.MustCompile(`^\|[\s|:-]+\|$`)
	htmlTag    = regexp.MustCompile(`<[a-zA-Z/!][^>]*>`)
	codeSpan   = regexp.MustCompile("`[^`]*`")
	link       = regexp.MustCompile(`!?\[([^\]]*)\]\(([^)]*)\)`)
	sentence   = regexp.MustCompile(`[.!?][)”"*_]*(?:\s+|$)`)
	htmlSource = regexp.MustCompile(`(?:src|href)="([^"]+)"`)
)

// A page is a Markdown file without its code blocks.
type page struct {
	blocks  []string // paragraphs, list items and table cells: one line each, as written
	cells   []string // of tables, as written
	anchors map[string]bool
	links   []string // targets, as written
}

// parse reads a page. It knows the Markdown that these pages use, not all of it.
func parse(text string) page {
	p := page{anchors: map[string]bool{}}
	var paragraph []string
	flush := func() {
		if len(paragraph) > 0 {
			p.blocks = append(p.blocks, strings.Join(paragraph, " "))
			paragraph = nil
		}
	}
	inCode := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case fence.MatchString(line):
			inCode = !inCode
			flush()
		case inCode:
		case line == "" || tableRule.MatchString(line):
			flush()
		case heading.MatchString(line):
			flush()
			p.anchors[anchor(heading.FindStringSubmatch(line)[1])] = true
		case strings.HasPrefix(line, "|"):
			flush()
			p.addRow(line)
		default:
			if listItem.MatchString(line) {
				flush()
				line = listItem.ReplaceAllString(line, "")
			}
			paragraph = append(paragraph, line)
		}
		if !inCode {
			p.addLinks(line)
		}
	}
	flush()
	return p
}

func (p *page) addRow(line string) {
	line = strings.ReplaceAll(strings.Trim(line, "|"), `\|`, "¦")
	for cell := range strings.SplitSeq(line, "|") {
		p.cells = append(p.cells, strings.TrimSpace(cell))
		p.blocks = append(p.blocks, strings.TrimSpace(cell))
	}
}

func (p *page) addLinks(line string) {
	line = codeSpan.ReplaceAllString(line, "")
	for _, found := range link.FindAllStringSubmatch(line, -1) {
		p.links = append(p.links, found[2])
	}
	for _, found := range htmlSource.FindAllStringSubmatch(line, -1) {
		p.links = append(p.links, found[1])
	}
}

// anchor returns the name by which links reach a heading, as GitHub and Bitbucket's viewers make it:
// "Don't stop!" is dont-stop.
func anchor(title string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(visible(title)) {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			b.WriteRune(r)
		case r == ' ':
			b.WriteByte('-')
		}
	}
	return b.String()
}

// visible returns the text that a reader sees: no tags, no marks of code, no targets of links.
func visible(text string) string {
	text = link.ReplaceAllString(text, "$1")
	text = htmlTag.ReplaceAllString(text, "")
	return strings.NewReplacer("`", "", "**", "").Replace(text)
}

// sentences returns the sentences of a block. A code span counts as one word, whatever it holds, and no
// full stop in it ends a sentence.
func sentences(block string) []string {
	block = codeSpan.ReplaceAllStringFunc(block, func(span string) string {
		return strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) || strings.ContainsRune(".!?", r) {
				return '_'
			}
			return r
		}, span)
	})
	block = htmlTag.ReplaceAllString(link.ReplaceAllString(block, "$1"), "")
	var all []string
	for part := range strings.SplitSeq(sentence.ReplaceAllString(block, "$0\x00"), "\x00") {
		if words(part) > 0 {
			all = append(all, strings.TrimSpace(part))
		}
	}
	return all
}

// words counts the words of a text. A word has a letter or a digit, so a dash is none.
func words(text string) int {
	n := 0
	for field := range strings.FieldsSeq(text) {
		if strings.ContainsFunc(field, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
			n++
		}
	}
	return n
}
