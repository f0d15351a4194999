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

	shorten "slipway/config/text"
)

var marker = regexp.MustCompile(`^(---|\.\.\.)(\s|$)`)

// A part is one parsed document of a file.
type part struct {
	body  ast.Node
	after int // number of lines in the file before the document
}

func (p part) line() int { return p.after + p.body.GetToken().Position.Line }

// split parses a file into its documents. It splits at the document markers, which are always at
// the start of a line (https://yaml.org/spec/1.2.2/#91-documents). The parser cannot do that: it
// ignores everything after an empty document.
func split(text []byte) ([]part, error) {
	var parts []part
	start := 0
	lines := strings.SplitAfter(string(text), "\n")
	for i := range len(lines) + 1 {
		if i < len(lines) && !marker.MatchString(lines[i]) {
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

// parse parses one document that starts after the given number of lines. An empty document has no
// body. Anchors, aliases and tags are rejected: a rules file does not need them, an alias can expand
// to more than the memory holds, and the decoder panics at some tags.
func parse(after int, document string) (p part, err error) {
	defer recoverAsError(after, &err)
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
			faultAt(n, "anchors, aliases and tags are not supported: quote a word that begins with !"),
			after,
		)
	}
	return part{body: body, after: after}, nil
}

func (p part) decode() (d Document, err error) {
	defer recoverAsError(p.after, &err)
	var form document
	if err := yaml.NewDecoder(bytes.NewReader(nil), yaml.Strict()).DecodeFromNode(p.body, &form); err != nil {
		return Document{}, withLine(err, p.after)
	}
	d, err = form.toDocument()
	if err != nil {
		return Document{}, fmt.Errorf("document at line %d: %w", p.line(), err)
	}
	d.Line = p.line()
	return d, nil
}

// firstExtra returns the first anchor, alias, merge key or tag below a node, or nil.
func firstExtra(n ast.Node) ast.Node {
	var found extraFinder
	ast.Walk(&found, n)
	return found.node
}

type extraFinder struct{ node ast.Node }

var _ ast.Visitor = (*extraFinder)(nil)

// Visit stops at the first match.
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

// recoverAsError turns a panic of the YAML library into an error. Unusual files can cause one.
func recoverAsError(after int, err *error) {
	if cause := recover(); cause != nil {
		*err = fmt.Errorf("document after line %d: cannot be parsed: %v", after, cause)
	}
}

// A fault is an error of this package with its line in the document.
type fault struct {
	line    int
	message string
}

func (f *fault) Error() string { return fmt.Sprintf("line %d: %s", f.line, f.message) }

func faultAt(n ast.Node, message string) error {
	return &fault{line: n.GetToken().Position.Line, message: message}
}

// withLine adds the line in the file to an error of a document that starts after the given number
// of lines. Errors of the parser have several lines and quote the file; only the first line is kept.
func withLine(err error, after int) error {
	var ours *fault
	if errors.As(err, &ours) {
		return &fault{line: after + ours.line, message: ours.message}
	}
	var theirs yaml.Error
	if !errors.As(err, &theirs) || theirs.GetToken() == nil || theirs.GetToken().Position == nil {
		return fmt.Errorf("document after line %d: %s", after, shorten.FirstLine(err.Error()))
	}
	return &fault{line: after + theirs.GetToken().Position.Line, message: shorten.FirstLine(theirs.GetMessage())}
}
