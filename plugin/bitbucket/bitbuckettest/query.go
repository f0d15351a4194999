package bitbuckettest

import (
	"regexp"
	"strings"
)

// filter returns the items that match a BBQL query. It supports comparisons of a dotted field with a text,
// a boolean or null by = != ~ !~ > >= < <=, and AND, OR and parentheses:
// https://developer.atlassian.com/cloud/bitbucket/rest/intro/#querying.
func filter(items []object, query string) ([]object, error) {
	if strings.TrimSpace(query) == "" {
		return items, nil
	}
	p := parser{tokens: lex(query)}
	matches, ok := p.either()
	if !ok || len(p.tokens) > 0 {
		return nil, badRequest("Invalid query: " + query)
	}
	var kept []object
	for _, item := range items {
		if matches(item) {
			kept = append(kept, item)
		}
	}
	return kept, nil
}

// A predicate is a parsed part of a query.
type predicate func(object) bool

var tokenPattern = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|!=|!~|>=|<=|[=~<>()]|[^\s"=~<>()!]+|\S`)

func lex(query string) []string { return tokenPattern.FindAllString(query, -1) }

// parser is a recursive-descent parser. tokens are the remaining tokens.
type parser struct{ tokens []string }

func (p *parser) next() string {
	if len(p.tokens) == 0 {
		return ""
	}
	token := p.tokens[0]
	p.tokens = p.tokens[1:]
	return token
}

func (p *parser) accept(word string) bool {
	if len(p.tokens) == 0 || !strings.EqualFold(p.tokens[0], word) {
		return false
	}
	p.tokens = p.tokens[1:]
	return true
}

func (p *parser) either() (predicate, bool) {
	left, ok := p.both()
	for ok && p.accept("OR") {
		one := left
		var other predicate
		other, ok = p.both()
		left = func(o object) bool { return one(o) || other(o) }
	}
	return left, ok
}

func (p *parser) both() (predicate, bool) {
	left, ok := p.term()
	for ok && p.accept("AND") {
		one := left
		var other predicate
		other, ok = p.term()
		left = func(o object) bool { return one(o) && other(o) }
	}
	return left, ok
}

func (p *parser) term() (predicate, bool) {
	if p.accept("(") {
		inner, ok := p.either()
		return inner, ok && p.accept(")")
	}
	field, operator, value := p.next(), p.next(), p.next()
	compare, ok := comparisons[operator]
	if !ok || value == "" || strings.HasPrefix(field, `"`) {
		return nil, false
	}
	if value == "null" {
		return func(o object) bool { return (valueAt(o, field) == nil) == (operator == "=") }, true
	}
	value = unquote(value)
	return func(o object) bool { return compare(textAt(o, field), value) }, true
}

var escapePattern = regexp.MustCompile(`\\(.)`)

func unquote(value string) string {
	inner, quoted := strings.CutPrefix(value, `"`)
	if !quoted {
		return value
	}
	return escapePattern.ReplaceAllString(strings.TrimSuffix(inner, `"`), "$1")
}

var comparisons = map[string]func(have, want string) bool{
	"=":  func(have, want string) bool { return have == want },
	"!=": func(have, want string) bool { return have != want },
	"~":  containsFold,
	"!~": func(have, want string) bool { return !containsFold(have, want) },
	">":  func(have, want string) bool { return have > want },
	">=": func(have, want string) bool { return have >= want },
	"<":  func(have, want string) bool { return have < want },
	"<=": func(have, want string) bool { return have <= want },
}

func containsFold(have, want string) bool {
	return strings.Contains(strings.ToLower(have), strings.ToLower(want))
}
