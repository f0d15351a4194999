package rules

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// A glob matches paths relative to the repository's root. * and ? match within a folder, **
// matches across folders, and […] is a character class. A trailing / matches everything below a
// folder.
type glob struct {
	text  string
	parts []string
}

func parseGlob(text string) (glob, error) {
	clean := strings.TrimPrefix(strings.TrimSpace(text), "/")
	switch {
	case clean == "":
		return glob{}, errors.New("empty: enter a pattern, for example svc/**")
	case len(clean) > maxPath:
		return glob{}, fmt.Errorf("%d bytes: at most %d are allowed", len(clean), maxPath)
	case strings.HasPrefix(clean, "!"):
		return glob{}, fmt.Errorf("%s: patterns cannot be negated", text)
	}
	if strings.HasSuffix(clean, "/") {
		clean += "**"
	}
	if clean == "**" || strings.HasSuffix(clean, "/**") {
		clean += "/*" // matches the content of a folder, not the folder itself
	}
	g := glob{text: text, parts: strings.Split(clean, "/")}
	for _, p := range g.parts {
		if _, err := path.Match(p, ""); err != nil || p == "" || p == ".." {
			return glob{}, fmt.Errorf("%s: %q is not a valid pattern", text, p)
		}
	}
	return g, nil
}

func (g glob) String() string { return g.text }

// match walks along the path once. On a mismatch it backtracks only to the last **. So its time
// is bounded by the product of the two lengths.
func (g glob) match(file string) bool {
	names := strings.Split(file, "/")
	part, name := 0, 0
	star, retry := -1, 0 // the last ** and the folder after it; -1 = none yet
	for name < len(names) {
		switch {
		case part < len(g.parts) && g.parts[part] == "**":
			star, retry = part, name
			part++
		case part < len(g.parts) && matchName(g.parts[part], names[name]):
			part++
			name++
		case star >= 0:
			retry++
			part, name = star+1, retry
		default:
			return false
		}
	}
	return part == len(g.parts)
}

func matchName(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}
