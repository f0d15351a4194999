package program

import (
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Plain writes what a terminal might obey, or show in another order than it stands, as \u and
// four hex digits: escape sequences, C1 controls, and characters that turn the direction of text
// are legal in names and messages of a repository, which errors quote. Line ends and tabs stay.
func Plain(s string) string {
	if strings.IndexFunc(s, obeyed) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if !obeyed(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) { // as JSON has it
			const digits = "0123456789abcdef"
			b.WriteString(`\u`)
			for shift := 12; shift >= 0; shift -= 4 {
				b.WriteByte(digits[unit>>shift&0xf])
			}
		}
	}
	return b.String()
}

func obeyed(r rune) bool { return !unicode.IsGraphic(r) && r != '\n' && r != '\t' }
