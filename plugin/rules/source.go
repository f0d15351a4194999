package rules

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

const maxSource = 1000

// A source matches refs by name. A literal matches the whole name, and /…/ is a regular
// expression that matches a part of it.
type source struct {
	literal string
	pattern *regexp.Regexp // nil for a literal
}

func parseSource(text string) (source, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return source{}, errors.New("empty: enter a name, or a regular expression between slashes")
	case len(text) > maxSource:
		return source{}, fmt.Errorf("%d bytes: at most %d are allowed", len(text), maxSource)
	case !strings.HasPrefix(text, "/"):
		return source{literal: text}, nil
	case len(text) < 3 || !strings.HasSuffix(text, "/"):
		return source{}, errors.New(
			"write a regular expression between two slashes, for example /^v[0-9]+$/; no name begins with a slash",
		)
	}
	expression := text[1 : len(text)-1]
	pattern, err := regexp.Compile(expression)
	if err != nil {
		return source{}, explainRegexp(expression, err)
	}
	return source{pattern: pattern}, nil
}

// explainRegexp explains the RE2 limits that users of other regular expression engines often
// meet.
// Source: https://github.com/google/re2/wiki/Syntax
func explainRegexp(expression string, err error) error {
	for _, look := range []string{"(?=", "(?!", "(?<=", "(?<!"} {
		if strings.Contains(expression, look) {
			return fmt.Errorf("look-ahead and look-behind, here %s, are not supported (RE2 syntax)", look)
		}
	}
	var fault *syntax.Error
	if errors.As(err, &fault) {
		if fault.Code == syntax.ErrInvalidEscape && len(fault.Expr) == 2 && fault.Expr[1] >= '1' &&
			fault.Expr[1] <= '9' {
			return fmt.Errorf("back-references, here %s, are not supported (RE2 syntax)", fault.Expr)
		}
		return fmt.Errorf("not a regular expression (RE2 syntax): %s: %s", fault.Code, fault.Expr)
	}
	return fmt.Errorf("not a regular expression (RE2 syntax): %w", err)
}

// match returns the groups of the leftmost match; the whole match is first. An unmatched group is
// empty.
func (s source) match(name string) (groups []string, ok bool) {
	if s.pattern == nil {
		return nil, name == s.literal
	}
	groups = s.pattern.FindStringSubmatch(name)
	return groups, groups != nil
}

// groups returns the number of groups in the expression.
func (s source) groups() int {
	if s.pattern == nil {
		return 0
	}
	return s.pattern.NumSubexp()
}
