package rulesfile

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// A text is a string that YAML reads back unchanged. It is written without quotes if it is
// unambiguous, else in single quotes, which keep regular expressions readable, else in double
// quotes.
type text string

var (
	_ yaml.BytesMarshaler  = text("")
	_ yaml.NodeUnmarshaler = (*text)(nil)
)

var plain = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./-]*$`)

// MarshalYAML writes one scalar.
func (t text) MarshalYAML() ([]byte, error) {
	s := string(t)
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "y", "n":
		return []byte("'" + s + "'"), nil
	}
	if plain.MatchString(s) {
		return []byte(s), nil
	}
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return []byte("'" + strings.ReplaceAll(s, "'", "''") + "'"), nil
	}
	quoted, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("quote %q: %w", s, err)
	}
	return quoted, nil
}

// UnmarshalYAML returns a scalar as it is written in the file, so that the tag 1.10 stays 1.10.
func (t *text) UnmarshalYAML(n ast.Node) error {
	switch n := n.(type) {
	case *ast.StringNode:
		*t = text(n.Value)
	case *ast.LiteralNode:
		*t = text(n.Value.Value)
	case *ast.NullNode:
		*t = ""
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		*t = text(strings.TrimSpace(n.GetToken().Origin))
	default:
		return faultAt(n, "want a string, got a "+strings.ToLower(n.Type().String()))
	}
	return nil
}

func texts(list []string) []text {
	var out []text
	for _, s := range list {
		out = append(out, text(s))
	}
	return out
}

func plainStrings(list []text) []string {
	var out []string
	for _, s := range list {
		out = append(out, string(s))
	}
	return out
}
