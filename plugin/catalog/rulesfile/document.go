package rulesfile

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

var mark = regexp.MustCompile(`^(---|\.\.\.)(\s|$)`)

// A part is one document of a file, as parsed.
type part struct {
	body  ast.Node
	after int // lines of the file before it
}

func (p part) line() int { return p.after + p.body.GetToken().Position.Line }

// split parses a file into its documents. It cuts at the marks itself, which stand at the
// beginning of a line and nowhere else (https://yaml.org/spec/1.2.2/#91-documents): the parser
// leaves off what follows an empty document.
func split(text []byte) ([]part, error) {
	var parts []part
	start := 0
	lines := strings.SplitAfter(string(text), "\n")
	for i := range len(lines) + 1 {
		if i < len(lines) && !mark.MatchString(lines[i]) {
			continue
		}
		p, err := parse(start, strings.Join(lines[start:i], ""))
		if err != nil {
			return nil, err
		}
		if p.body != nil {
			parts = append(parts, p)
		}
		if len(parts) > MaxDocuments {
			return nil, fmt.Errorf("more than %d documents", MaxDocuments)
		}
		if i < len(lines) {
			lines[i] = "   " + lines[i][3:]
		}
		start = i
	}
	return parts, nil
}

// parse reads one document that begins after so many lines; an empty one gives no body.
// Anchors, aliases and tags are refused: a file of rules needs none, an alias may stand for
// more than fits into memory, and the decoder panics at some tags.
func parse(after int, document string) (p part, err error) {
	defer contain(after, &err)
	file, err := parser.ParseBytes([]byte(document), 0)
	if err != nil {
		return part{}, withLine(err, after)
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil || file.Docs[0].Body.Type() == ast.NullType {
		return part{}, nil
	}
	body := file.Docs[0].Body
	if n := firstExtra(body); n != nil {
		return part{}, withLine(
			faultAt(n, "anchors and aliases are not read, nor are tags (a word that begins with ! needs quotes)"),
			after,
		)
	}
	return part{body: body, after: after}, nil
}

func (p part) decode() (d Document, err error) {
	defer contain(p.after, &err)
	var form document
	if err := yaml.NewDecoder(bytes.NewReader(nil), yaml.Strict()).DecodeFromNode(p.body, &form); err != nil {
		return Document{}, withLine(err, p.after)
	}
	if d, err = form.noun(); err != nil {
		return Document{}, fmt.Errorf("document at line %d: %w", p.line(), err)
	}
	d.Line = p.line()
	return d, nil
}

// firstExtra finds a node that is or names another one, or says its own type.
func firstExtra(n ast.Node) ast.Node {
	var found extraFinder
	ast.Walk(&found, n)
	return found.node
}

type extraFinder struct{ node ast.Node }

var _ ast.Visitor = (*extraFinder)(nil)

// Visit stops below what was looked for.
func (f *extraFinder) Visit(n ast.Node) ast.Visitor {
	switch n.Type() {
	case ast.AliasType, ast.AnchorType, ast.MergeKeyType, ast.TagType:
		f.node = n
	}
	if f.node != nil {
		return nil
	}
	return f
}

// contain makes an error of a panic: the library has some left for files that nobody writes.
func contain(after int, err *error) {
	if cause := recover(); cause != nil {
		*err = fmt.Errorf("document after line %d: not understood: %v", after, cause)
	}
}

// A fault is one of ours, with its line in the document.
type fault struct {
	line    int
	message string
}

func (f *fault) Error() string { return fmt.Sprintf("line %d: %s", f.line, f.message) }

func faultAt(n ast.Node, message string) error {
	return &fault{line: n.GetToken().Position.Line, message: message}
}

// withLine gives an error of a document that begins after so many lines its line in the file.
// The parser's span lines and quote the file; they become one line.
func withLine(err error, after int) error {
	var ours *fault
	if errors.As(err, &ours) {
		return &fault{line: after + ours.line, message: ours.message}
	}
	var theirs yaml.Error
	if !errors.As(err, &theirs) || theirs.GetToken() == nil || theirs.GetToken().Position == nil {
		return fmt.Errorf("document after line %d: %s", after, firstLine(err.Error()))
	}
	return &fault{line: after + theirs.GetToken().Position.Line, message: firstLine(theirs.GetMessage())}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
