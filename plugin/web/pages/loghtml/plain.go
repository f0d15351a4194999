package loghtml

import (
	"strings"
	"unicode/utf8"
)

// A Plain makes text of the bytes of one log that is safe on a terminal: colors (SGR) stay, and
// all other control sequences and hidden characters are removed, line breaks, tabs and carriage
// returns excepted. Bytes that are not UTF-8 become U+FFFD: alone they may be C1 controls. Feed it
// in pieces of any size: the text does not depend on where they are cut. It is not safe for
// concurrent use.
type Plain struct {
	parser  parser
	partial []byte // the beginning of a character that the next piece completes
}

// Write takes the next bytes and returns their text.
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

// Flush returns the text of an unfinished character at the log's end.
func (p *Plain) Flush() []byte {
	var out []byte
	for range p.partial {
		out = p.appendRune(out, utf8.RuneError)
	}
	p.partial = nil
	return out
}

func (p *Plain) appendRune(out []byte, c rune) []byte {
	if c == '\n' { // ends a control string, as on the page: an unfinished one hides one line at most
		p.parser.state = ground
		return append(out, '\n')
	}
	switch p.parser.next(c) {
	case control:
		return out
	case colors:
		// Other forms change the keyboard or the mouse, as xterm's CSI > 4 ; 1 m.
		if strings.Trim(string(p.parser.params), "0123456789;:") != "" {
			return out
		}
		out = append(out, 0x1b, '[')
		out = append(out, p.parser.params...)
		return append(out, 'm')
	}
	if c != '\r' && hidden(c) {
		return out
	}
	return utf8.AppendRune(out, c)
}
