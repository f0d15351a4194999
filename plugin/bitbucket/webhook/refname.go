package webhook

import (
	"strings"
	"unicode"
)

const (
	headsPrefix = "refs/heads/"
	tagsPrefix  = "refs/tags/"
	hashLength  = 40
	shortLength = 12 // what Cloud tells of a pull request's commits
	maxRefName  = 1000
)

// hash returns a full commit hash in lower case.
func (n node) hash() (string, error) {
	s, err := n.text()
	if err != nil {
		return "", err
	}
	if !isHex(s) || len(s) != hashLength {
		return "", n.fault("not a commit hash of 40 hex digits")
	}
	return strings.ToLower(s), nil
}

// hashOrNone returns the hash; empty where there is none. Data Center writes "none" as 40 zeros.
func (n node) hashOrNone() string {
	s, err := n.hash()
	if err != nil || strings.Trim(s, "0") == "" {
		return ""
	}
	return s
}

// abbreviated returns a full or shortened commit hash; absent or null is empty.
func (n node) abbreviated() (string, error) {
	if n.null() {
		return "", nil
	}
	s, err := n.text()
	if err != nil {
		return "", err
	}
	if !isHex(s) || len(s) < shortLength || len(s) > hashLength {
		return "", n.fault("not a commit hash of 12 to 40 hex digits")
	}
	return strings.ToLower(s), nil
}

func isHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return s != ""
}

// validRefName applies git's rules for a ref's short name.
// Source: https://git-scm.com/docs/git-check-ref-format
func validRefName(name string) bool {
	if name == "" || len(name) > maxRefName || name == "@" || strings.ContainsAny(name, " ~^:?*[\\") ||
		strings.Contains(name, "..") || strings.Contains(name, "@{") || strings.HasSuffix(name, ".") ||
		strings.ContainsFunc(name, unicode.IsControl) {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}

// splitRef takes a full ref name apart; a ref of another kind gives an empty kind.
func splitRef(id string) (Kind, string) {
	if name, ok := strings.CutPrefix(id, headsPrefix); ok {
		return Branch, name
	}
	if name, ok := strings.CutPrefix(id, tagsPrefix); ok {
		return Tag, name
	}
	return "", id
}
