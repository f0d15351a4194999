package loghtml

import (
	"strconv"
	"strings"
)

// parserState says what part of a control sequence is being read (ECMA-48 §5).
type parserState int

const (
	ground       parserState = iota
	escape                   // after ESC
	intermediate             // after ESC and a space … slash: one more character follows
	sequence                 // after CSI: parameters up to a final character
	text                     // in OSC, DCS, SOS, PM or APC: dropped up to BEL or ST
	textEscape               // after ESC within it
)

// maxParams bounds the parameters kept of one sequence; longer ones change nothing.
const maxParams = 64

func (r *Renderer) control(c rune) {
	switch r.state {
	case escape:
		r.escaped(c)
	case intermediate:
		r.state = ground
	case sequence:
		r.parameter(c)
	case text:
		switch c {
		case 0x07, 0x9c:
			r.state = ground
		case 0x1b:
			r.state = textEscape
		}
	case textEscape:
		r.state = text
		if c == '\\' {
			r.state = ground
		}
	}
}

func (r *Renderer) escaped(c rune) {
	switch {
	case c == '[':
		r.state, r.params = sequence, r.params[:0]
	case strings.ContainsRune("]PX^_", c):
		r.state = text
	case c >= 0x20 && c <= 0x2f:
		r.state = intermediate
	case c == 0x1b:
	default:
		r.state = ground
	}
}

func (r *Renderer) parameter(c rune) {
	switch {
	case c >= 0x40 && c <= 0x7e:
		r.state = ground
		if c == 'm' && len(r.params) <= maxParams {
			r.style = r.style.apply(string(r.params))
		}
	case c >= 0x20 && c <= 0x3f:
		if len(r.params) <= maxParams {
			r.params = append(r.params, byte(c))
		}
	case c == 0x1b:
		r.state = escape
	default:
		r.state = ground
	}
}

// A style is what SGR set: colours 1–16 (0 = the page's own) and weights.
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
	codes := numbers(params)
	for i := 0; i < len(codes); i++ {
		switch n := codes[i]; n {
		case 38, 48:
			colour, used := extended(codes[i+1:])
			if n == 38 {
				s.fg = colour
			} else {
				s.bg = colour
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

// numbers reads parameters; an empty one is 0, and a foreign form gives none.
func numbers(params string) []int {
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

// extended reads what follows 38 or 48: 5;n or 2;r;g;b, brought down to sixteen colours.
func extended(codes []int) (colour uint8, used int) {
	switch {
	case len(codes) >= 2 && codes[0] == 5:
		return indexed(codes[1]), 2
	case len(codes) >= 4 && codes[0] == 2:
		return nearest(codes[1], codes[2], codes[3]), 4
	}
	return 0, len(codes)
}

func indexed(n int) uint8 {
	switch {
	case n < 0 || n > 255:
		return 0
	case n < 16:
		return uint8(n + 1)
	case n < 232:
		n -= 16
		return nearest(n/36*51, n/6%6*51, n%6*51)
	}
	grey := (n-232)*10 + 8
	return nearest(grey, grey, grey)
}

func nearest(red, green, blue int) uint8 {
	var colour uint8 = 1
	for bit, v := range []int{red, green, blue} {
		if v >= 96 {
			colour += 1 << bit
		}
	}
	if max(red, green, blue) >= 192 {
		colour += 8
	}
	return colour
}
