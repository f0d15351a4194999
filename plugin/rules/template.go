package rules

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

const (
	maxTags      = 50
	maxTagLength = 128 // of the OCI distribution specification
	sourceRef    = "{sourceref}"
)

var (
	placeholder = regexp.MustCompile(`\{[^{}]*\}`)
	tagText     = regexp.MustCompile(`^[A-Za-z0-9_.-]*$`)
)

// A template is one tag with placeholders. It is a list of literals, {sourceref} and {\1} to
// {\9}.
type template struct {
	text  string
	parts []part
}

type part struct {
	literal string
	ref     bool // {sourceref}: the whole name, not only the match
	group   int  // 1 to 9; 0 means none
}

// parseTags parses a comma-separated list of tags. It ignores blanks around items, and empty
// items.
func parseTags(text string, s source) ([]template, error) {
	var templates []template
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		t, err := parseTemplate(item, s)
		if err != nil {
			return nil, err
		}
		templates = append(templates, t)
	}
	switch {
	case len(templates) == 0:
		return nil, errors.New("empty: enter at least one tag, for example latest")
	case len(templates) > maxTags:
		return nil, fmt.Errorf("%d tags: at most %d are allowed", len(templates), maxTags)
	}
	return templates, nil
}

func parseTemplate(text string, s source) (template, error) {
	t := template{text: text}
	rest := text
	for rest != "" {
		at := placeholder.FindStringIndex(rest)
		if at == nil {
			at = []int{len(rest), len(rest)}
		}
		if at[0] > 0 {
			t.parts = append(t.parts, part{literal: rest[:at[0]]})
		}
		if at[1] > at[0] {
			p, err := parsePlaceholder(rest[at[0]:at[1]], s)
			if err != nil {
				return template{}, err
			}
			t.parts = append(t.parts, p)
		}
		rest = rest[at[1]:]
	}
	return t, t.checkLiterals()
}

func parsePlaceholder(text string, s source) (part, error) {
	if text == sourceRef {
		return part{ref: true}, nil
	}
	if len(text) != 4 || text[1] != '\\' || text[2] < '1' || text[2] > '9' {
		return part{}, fmt.Errorf(`%s is not a placeholder: use {sourceref} or {\1} to {\9}`, text)
	}
	group := int(text[2] - '0')
	if s.pattern == nil {
		return part{}, fmt.Errorf("%s needs a regular expression as source, %s is a literal name", text, s.literal)
	}
	if group > s.groups() {
		return part{}, fmt.Errorf("%s: the source has only %d groups", text, s.groups())
	}
	return part{group: group}, nil
}

// checkLiterals rejects literals that every expansion would have to rewrite, so that the user
// sees the error when saving.
func (t template) checkLiterals() error {
	total := 0
	for i, p := range t.parts {
		if !tagText.MatchString(p.literal) {
			return fmt.Errorf("%q is not allowed in a tag: use letters, digits, _ . and -", p.literal)
		}
		if i == 0 && strings.HasPrefix(p.literal, ".") || i == 0 && strings.HasPrefix(p.literal, "-") {
			return fmt.Errorf("%q: a tag begins with a letter, a digit or _", t.text)
		}
		total += len(p.literal)
	}
	if total > maxTagLength {
		return fmt.Errorf("%.20q… has %d characters, a tag has at most %d", t.text, total, maxTagLength)
	}
	return nil
}

// isFixed reports whether the template is the same for every ref.
func (t template) isFixed() bool {
	return len(t.parts) == 1 && t.parts[0].literal != ""
}

func (t template) expand(ref string, groups []string) string {
	var b strings.Builder
	for _, p := range t.parts {
		switch {
		case p.ref:
			b.WriteString(ref)
		case p.group > 0 && p.group < len(groups):
			b.WriteString(groups[p.group])
		default:
			b.WriteString(p.literal)
		}
	}
	return b.String()
}

// escapeTag converts s to a valid image tag. It replaces every character other than ASCII
// letters, digits, _ . and - by _, and also a leading . or -. It cuts the tag after 128
// characters.
// Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
func escapeTag(s string) string {
	var b strings.Builder
	for _, r := range s {
		if b.Len() == maxTagLength {
			break
		}
		if r > 127 || !tagText.MatchString(string(r)) || b.Len() == 0 && (r == '.' || r == '-') {
			r = '_'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// buildArgs replaces {sourceref} in the values by the unchanged name of the ref.
func buildArgs(args map[string]string, ref string) map[string]string {
	if len(args) == 0 {
		return nil
	}
	expanded := make(map[string]string, len(args))
	for name, value := range args {
		expanded[name] = strings.ReplaceAll(value, sourceRef, ref)
	}
	return expanded
}
