package program

import (
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Plain replaces characters that change the state of a terminal or the order of text by \u and four
// hex digits. Examples are escape sequences, C1 controls and bidirectional overrides. They are legal
// in names and messages of a repository, and errors quote these. Line ends and tabs stay.
func Plain(s string) string {
	if strings.IndexFunc(s, isUnsafe) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if !isUnsafe(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) { // JSON escapes UTF-16 units
			const digits = "0123456789abcdef"
			b.WriteString(`\u`)
			for shift := 12; shift >= 0; shift -= 4 {
				b.WriteByte(digits[unit>>shift&0xf])
			}
		}
	}
	return b.String()
}

func isUnsafe(r rune) bool { return !unicode.IsGraphic(r) && r != '\n' && r != '\t' }
