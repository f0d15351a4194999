package webhook

import (
	"strings"
	"unicode"
)

const (
	headsPrefix = "refs/heads/"
	tagsPrefix  = "refs/tags/"
	hashLength  = 40
	shortLength = 12 // length of the commit hashes in Cloud's pull requests
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

// hashOrNone returns the hash, or "" if it is absent or invalid. Data Center writes 40 zeros for
// "none".
func (n node) hashOrNone() string {
	s, err := n.hash()
	if err != nil || strings.Trim(s, "0") == "" {
		return ""
	}
	return s
}

// abbreviated returns a full or abbreviated commit hash, or "" if it is absent or null.
func (n node) abbreviated() (string, error) {
	if n.isNull() {
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

// splitRef splits a full ref name into kind and short name. The kind is empty for other refs.
func splitRef(id string) (Kind, string) {
	if name, ok := strings.CutPrefix(id, headsPrefix); ok {
		return Branch, name
	}
	if name, ok := strings.CutPrefix(id, tagsPrefix); ok {
		return Tag, name
	}
	return "", id
}
