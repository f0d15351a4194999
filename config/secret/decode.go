package secret

import (
	"html"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	esc       = 0x1b
	maxCSI    = 64 // bytes of one color code
	maxMargin = 32 // bytes before a line's text
	maxName   = 32 // maximum length of an HTML entity; the longest has 31 letters
	maxDigits = 8  // maximum number of digits in an escape
)

// A token is one reading of the first bytes of a text.
type token struct {
	size  int     // bytes of the text
	bytes [8]byte // the decoded bytes
	n     int     // number of them; 0 = the reading skips the text
}

// A decoder reads the first token of a text in every encoding that may apply.
type decoder struct {
	text  []byte
	skips bool // color codes may be skipped
	wraps bool // line breaks may be skipped
	short bool // a reading depends on bytes that follow the text
}

// decode appends the readings.
func (d *decoder) decode(to []token) []token {
	first := len(to)
	to = append(to, byteToken(1, d.text[0]))
	switch d.text[0] {
	case '%':
		if n, ok := d.hex(1, 2); ok {
			to = append(to, byteToken(3, byte(n))) //nolint:gosec // two digits
		}
	case '+':
		to = append(to, byteToken(1, ' '))
	case '&':
		to = d.entity(to)
	case '\'':
		to = d.quote(to)
	case '\\':
		to = d.backslash(to)
	}
	if !d.skips {
		return to
	}
	for _, t := range to[first:] { // tokens that the loop appends are not read
		if t.n != 1 {
			continue
		}
		switch t.bytes[0] {
		case esc:
			if n := d.csi(t.size); n > 0 {
				to = append(to, token{size: t.size + n})
			}
		case '\r', '\n':
			if d.wraps {
				to = append(to, token{size: t.size + d.margin(t.size)})
			}
		}
	}
	return to
}

func byteToken(size int, b byte) token { return token{size: size, bytes: [8]byte{b}, n: 1} }

func runeToken(size int, r rune) token {
	t := token{size: size}
	t.n = utf8.EncodeRune(t.bytes[:], r)
	return t
}

// at returns the byte at i. At the end it returns 0, and sets d.short because more text could change the
// reading.
func (d *decoder) at(i int) byte {
	if i < len(d.text) {
		return d.text[i]
	}
	d.short = true
	return 0
}

// hex reads n hexadecimal digits.
func (d *decoder) hex(from, n int) (value rune, ok bool) {
	for i := from; i < from+n; i++ {
		digit := hexDigit(d.at(i))
		if digit < 0 {
			return 0, false
		}
		value = value<<4 | digit
	}
	return value, true
}

func hexDigit(c byte) rune {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0')
	case 'a' <= c && c <= 'f':
		return rune(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}

// number reads digits up to the byte end. It returns their value, and the number of bytes with end.
func (d *decoder) number(from int, base rune, end byte) (value rune, size int, ok bool) {
	for i := from; i <= from+maxDigits; i++ {
		c := d.at(i)
		if c == end && i > from {
			return value, i + 1 - from, utf8.ValidRune(value)
		}
		digit := hexDigit(c)
		if digit < 0 || digit >= base || value > utf8.MaxRune {
			return 0, 0, false
		}
		value = value*base + digit
	}
	return 0, 0, false
}

// entity reads an entity of HTML: a number, or one of the names at
// https://html.spec.whatwg.org/entities.json.
func (d *decoder) entity(to []token) []token {
	if d.at(1) == '#' {
		from, base := 2, rune(10)
		if c := d.at(2); c == 'x' || c == 'X' {
			from, base = 3, 16
		}
		if r, size, ok := d.number(from, base, ';'); ok {
			to = append(to, runeToken(from+size, r))
		}
		return to
	}
	end := 1
	for ; end <= maxName && isAlnum(d.at(end)); end++ {
	}
	if end > maxName || d.at(end) != ';' {
		return to
	}
	entity := string(d.text[:end+1])
	decoded := html.UnescapeString(entity)
	t := token{size: len(entity), n: len(decoded)}
	if decoded == entity || copy(t.bytes[:], decoded) < len(decoded) {
		return to
	}
	return append(to, t)
}

// quote reads a single quote as it stands within single quotes of a shell: '\” or '"'"'.
func (d *decoder) quote(to []token) []token {
	for _, form := range []string{`'\''`, `'"'"'`} {
		i := 1
		for ; i < len(form) && d.at(i) == form[i]; i++ {
		}
		if i == len(form) {
			to = append(to, byteToken(len(form), '\''))
		}
	}
	return to
}

// controls are the letters of control characters after a backslash.
const (
	controlLetters = "abtnvfreE"
	controlBytes   = "\a\b\t\n\v\f\r\x1b\x1b"
)

// backslash reads the escapes of JSON, JavaScript, Go, $'...' and printf %q.
func (d *decoder) backslash(to []token) []token {
	c := d.at(1)
	switch {
	case c == 'x':
		if n, ok := d.hex(2, 2); ok {
			to = append(to, byteToken(4, byte(n))) //nolint:gosec // two digits
			if n >= utf8.RuneSelf {
				to = append(to, runeToken(4, n)) // JavaScript means a character, shells a byte
			}
		}
	case c == 'u':
		to = d.unicode(to)
	case c == 'U':
		if r, ok := d.hex(2, 8); ok && utf8.ValidRune(r) {
			to = append(to, runeToken(10, r))
		}
	case '0' <= c && c <= '3':
		second, third := d.at(2), d.at(3)
		if '0' <= second && second <= '7' && '0' <= third && third <= '7' {
			to = append(to, byteToken(4, (c-'0')<<6|(second-'0')<<3|(third-'0')))
		}
	case c != 0 && strings.IndexByte(controlLetters, c) >= 0:
		to = append(to, byteToken(2, controlBytes[strings.IndexByte(controlLetters, c)]))
	case c != 0 && !isAlnum(c):
		to = append(to, byteToken(2, c))
	}
	return to
}

// unicode reads \uXXXX, a pair of them, or \u{X}.
func (d *decoder) unicode(to []token) []token {
	if d.at(2) == '{' {
		if r, size, ok := d.number(3, 16, '}'); ok {
			to = append(to, runeToken(3+size, r))
		}
		return to
	}
	r, ok := d.hex(2, 4)
	if !ok {
		return to
	}
	if !utf16.IsSurrogate(r) {
		return append(to, runeToken(6, r))
	}
	if d.at(6) != '\\' || d.at(7) != 'u' {
		return to
	}
	if low, ok := d.hex(8, 4); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
		to = append(to, runeToken(12, utf16.DecodeRune(r, low)))
	}
	return to
}

// csi returns the length of a control sequence without its ESC, such as a color code (ECMA-48, section
// 5.4). It also accepts the choice of a character set, with which `tput sgr0` begins. It returns 0 if
// there is none.
func (d *decoder) csi(from int) int {
	switch d.at(from) {
	case '(', ')', '*', '+':
		if c := d.at(from + 1); '0' <= c && c <= '~' {
			return 2
		}
	case '[':
		for n := 1; n < maxCSI; n++ {
			c := d.at(from + n)
			if '@' <= c && c <= '~' {
				return n + 1
			}
			if c < ' ' || c > '?' {
				return 0
			}
		}
	}
	return 0
}

// margin returns the length of the prefix of a wrapped line: blanks, and BuildKit's prefix of each line of a
// step, for example "#12 3.456 ".
func (d *decoder) margin(from int) int {
	i := from
	blanks := func() {
		for ; i < from+maxMargin && (d.at(i) == ' ' || d.at(i) == '\t'); i++ {
		}
	}
	digits := func() {
		for ; i < from+maxMargin && '0' <= d.at(i) && d.at(i) <= '9'; i++ {
		}
	}
	blanks()
	if d.at(i) != '#' {
		return i - from
	}
	start := i
	i++
	digits()
	if d.at(i) != ' ' {
		return start - from
	}
	blanks()
	end := i
	digits()
	if i == end || d.at(i) != '.' {
		return end - from
	}
	i++
	digits()
	if d.at(i) != ' ' {
		return end - from
	}
	blanks()
	return i - from
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
