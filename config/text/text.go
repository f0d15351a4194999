// Package text shortens texts for people: errors in results, commit messages in lists, hashes.
package text

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// OneLine joins the lines of a text with single spaces. It cuts a text of more than limit bytes and
// adds an ellipsis; 0 is no limit.
func OneLine(s string, limit int) string {
	s = strings.Join(strings.Fields(s), " ")
	if limit > 0 && len(s) > limit {
		s = Clip(s, limit) + "…"
	}
	return s
}

// FirstLine returns the first line of a text without the control characters that could move a
// terminal's cursor. Leading empty lines do not count.
func FirstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

// Short returns the first 12 characters of a hash, as git abbreviates commits.
func Short(hash string) string { return Clip(hash, 12) }

// Plural returns a number with its noun: "1 build", "2 builds".
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Clip returns at most limit bytes of a text, without a broken character at the end.
func Clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
