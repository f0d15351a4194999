package loghtml

import (
	"strconv"
	"strings"
)

// parserState is the part of a control sequence that the parser reads (ECMA-48 §5).
type parserState int

const (
	ground       parserState = iota
	escape                   // after ESC
	intermediate             // after ESC and a character from space to slash; one more character follows
	sequence                 // after CSI; parameters follow, up to a final character
	text                     // in OSC, DCS, SOS, PM or APC; removed up to BEL or ST
	textEscape               // after ESC within it
)

// maxParams is the maximum length of the parameters of a sequence. Longer sequences are ignored.
const maxParams = 64

// A parser finds control sequences in a log. The zero value is ready for the start of a log.
type parser struct {
	state  parserState
	params []byte // of the current or the last sequence
}

// A token is the kind of a character.
type token int

const (
	visible token = iota // not part of a control sequence
	control              // part of a control sequence that is removed
	colors               // the end of an SGR sequence; params has its parameters
)

// next reads the next character and returns its kind.
func (p *parser) next(c rune) token {
	switch p.state {
	case ground:
		return p.begin(c)
	case escape:
		p.parseEscape(c)
	case intermediate:
		p.state = ground
	case sequence:
		return p.parseParameter(c)
	case text:
		switch c {
		case 0x07, 0x9c:
			p.state = ground
		case 0x1b:
			p.state = textEscape
		}
	case textEscape:
		p.state = text
		if c == '\\' {
			p.state = ground
		}
	}
	return control
}

func (p *parser) begin(c rune) token {
	switch c {
	case 0x1b:
		p.state = escape
	case 0x9b:
		p.state, p.params = sequence, p.params[:0]
	case 0x90, 0x98, 0x9d, 0x9e, 0x9f:
		p.state = text
	default:
		return visible
	}
	return control
}

func (p *parser) parseEscape(c rune) {
	switch {
	case c == '[':
		p.state, p.params = sequence, p.params[:0]
	case strings.ContainsRune("]PX^_", c):
		p.state = text
	case c >= 0x20 && c <= 0x2f:
		p.state = intermediate
	case c == 0x1b:
	default:
		p.state = ground
	}
}

func (p *parser) parseParameter(c rune) token {
	switch {
	case c >= 0x40 && c <= 0x7e:
		p.state = ground
		if c == 'm' && len(p.params) <= maxParams {
			return colors
		}
	case c >= 0x20 && c <= 0x3f:
		if len(p.params) <= maxParams {
			p.params = append(p.params, byte(c))
		}
	case c == 0x1b:
		p.state = escape
	default:
		p.state = ground
	}
	return control
}

// A style is the state of SGR: colors 1–16 (0 means the default color) and weights.
type style struct {
	fg, bg                           uint8
	bold, dim, italic, under, strike bool
}

func (s style) classes() string {
	var names []string
	for _, flag := range []struct {
		on   bool
		name string
	}{{s.bold, "b"}, {s.dim, "d"}, {s.italic, "i"}, {s.under, "u"}, {s.strike, "s"}} {
		if flag.on {
			names = append(names, flag.name)
		}
	}
	if s.fg > 0 {
		names = append(names, "f"+strconv.Itoa(int(s.fg-1)))
	}
	if s.bg > 0 {
		names = append(names, "g"+strconv.Itoa(int(s.bg-1)))
	}
	return strings.Join(names, " ")
}

// apply returns the style after one SGR sequence with the parameters given.
func (s style) apply(params string) style {
	codes := parseNumbers(params)
	for i := 0; i < len(codes); i++ {
		switch n := codes[i]; n {
		case 38, 48:
			color, used := parseExtended(codes[i+1:])
			if n == 38 {
				s.fg = color
			} else {
				s.bg = color
			}
			i += used
		default:
			s = s.set(n)
		}
	}
	return s
}

func (s style) set(n int) style {
	switch {
	case n == 0:
		return style{}
	case n == 1:
		s.bold = true
	case n == 2:
		s.dim = true
	case n == 3:
		s.italic = true
	case n == 4:
		s.under = true
	case n == 9:
		s.strike = true
	case n == 22:
		s.bold, s.dim = false, false
	case n == 23:
		s.italic = false
	case n == 24:
		s.under = false
	case n == 29:
		s.strike = false
	case n >= 30 && n <= 37:
		s.fg = uint8(n - 29)
	case n == 39:
		s.fg = 0
	case n >= 40 && n <= 47:
		s.bg = uint8(n - 39)
	case n == 49:
		s.bg = 0
	case n >= 90 && n <= 97:
		s.fg = uint8(n - 81)
	case n >= 100 && n <= 107:
		s.bg = uint8(n - 91)
	}
	return s
}

// parseNumbers parses parameters. An empty parameter is 0. It returns none for an unknown format.
func parseNumbers(params string) []int {
	var codes []int
	for one := range strings.SplitSeq(params, ";") {
		n, err := strconv.Atoi(one)
		if err != nil && one != "" {
			return nil
		}
		codes = append(codes, n)
	}
	return codes
}

// parseExtended parses the codes after 38 or 48, which are 5;n or 2;r;g;b. It returns the nearest of the
// sixteen colors, and the number of codes used.
func parseExtended(codes []int) (color uint8, used int) {
	switch {
	case len(codes) >= 2 && codes[0] == 5:
		return indexedColor(codes[1]), 2
	case len(codes) >= 4 && codes[0] == 2:
		return nearestColor(codes[1], codes[2], codes[3]), 4
	}
	return 0, len(codes)
}

func indexedColor(n int) uint8 {
	switch {
	case n < 0 || n > 255:
		return 0
	case n < 16:
		return uint8(n + 1)
	case n < 232:
		n -= 16
		return nearestColor(n/36*51, n/6%6*51, n%6*51)
	}
	grey := (n-232)*10 + 8
	return nearestColor(grey, grey, grey)
}

func nearestColor(red, green, blue int) uint8 {
	var color uint8 = 1
	for bit, v := range []int{red, green, blue} {
		if v >= 96 {
			color += 1 << bit
		}
	}
	if max(red, green, blue) >= 192 {
		color += 8
	}
	return color
}
