package loghtml

import (
	"strings"
	"unicode/utf8"
)

// A Plain converts the bytes of one log to text that is safe in a terminal. It keeps line breaks, tabs
// and carriage returns, and removes control sequences and hidden characters. With Colors, it keeps the
// sequences for colors (SGR), which can also hide text. Bytes that are not UTF-8 become U+FFFD, because
// they can be C1 controls. Write pieces of any size; the result does not depend on the sizes. It is not
// safe for concurrent use.
type Plain struct {
	Colors  bool // set before the first Write
	parser  parser
	partial []byte // the first bytes of a character that the next piece completes
}

// Write reads the next bytes and returns their text.
func (p *Plain) Write(piece []byte) []byte {
	if len(p.partial) > 0 {
		piece = append(p.partial, piece...)
		p.partial = nil
	}
	out := make([]byte, 0, len(piece))
	for len(piece) > 0 {
		if !utf8.FullRune(piece) {
			p.partial = append([]byte(nil), piece...)
			break
		}
		c, size := utf8.DecodeRune(piece)
		piece = piece[size:]
		out = p.appendRune(out, c)
	}
	return out
}

// Flush returns the text of an unfinished character at the end of the log.
func (p *Plain) Flush() []byte {
	var out []byte
	for range p.partial {
		out = p.appendRune(out, utf8.RuneError)
	}
	p.partial = nil
	return out
}

func (p *Plain) appendRune(out []byte, c rune) []byte {
	if c == '\n' { // ends a control string, so that an unfinished one hides at most one line
		p.parser.state = ground
		return append(out, '\n')
	}
	switch p.parser.next(c) {
	case control:
		return out
	case colors:
		if !p.Colors {
			return out
		}
		// Other parameters change the keyboard or the mouse, such as xterm's CSI > 4 ; 1 m.
		if strings.Trim(string(p.parser.params), "0123456789;:") != "" {
			return out
		}
		out = append(out, 0x1b, '[')
		out = append(out, p.parser.params...)
		return append(out, 'm')
	}
	if c != '\r' && isHidden(c) {
		return out
	}
	return utf8.AppendRune(out, c)
}
