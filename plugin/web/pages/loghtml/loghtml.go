// Package loghtml converts a build's log to HTML, or to text for a terminal. Logs are not trusted. It
// keeps only the control sequences for colors and weights (SGR, ECMA-48 §8.3.117), in HTML as
// classes. It removes links, titles, clipboard writes, cursor moves, C1 controls and characters that
// reorder text. In HTML it escapes everything else. It uses no clock, file or network.
package loghtml

import (
	"fmt"
	"html"
	"html/template"
	"strings"
	"unicode/utf8"
)

// MaxLine is the maximum number of characters shown of a line. The raw log has all of them.
const MaxLine = 4000

// headLength is the maximum number of characters of Line.Head.
const headLength = 160

// A Line is one line of a log as HTML.
type Line struct {
	Number int           // from 1
	HTML   template.HTML // escaped text and spans with classes, no line break
	Step   string        // number of the BuildKit step, for example "7" of "#7 …"; may be empty
	Head   string        // the first headLength characters, without colors
}

// A Renderer converts the bytes of one log to lines. Write the log from its start, in pieces of any
// size; the result does not depend on the sizes. It buffers at most one line. It is not safe for
// concurrent use.
type Renderer struct {
	number  int
	partial []byte // the first bytes of a character that the next piece completes
	parser  parser

	style   style // of the last SGR sequence
	written style // of the open span
	out     strings.Builder
	head    strings.Builder
	width   int // number of characters of the line, shown or not
	heads   int // number of characters in head
	began   bool
	carried bool // the last character was a carriage return
}

// Write reads the next bytes and returns the lines that they complete.
func (r *Renderer) Write(p []byte) []Line {
	var lines []Line
	if len(r.partial) > 0 {
		p = append(r.partial, p...)
		r.partial = nil
	}
	for len(p) > 0 {
		if !utf8.FullRune(p) {
			r.partial = append([]byte(nil), p...)
			break
		}
		c, size := utf8.DecodeRune(p)
		p = p[size:]
		if c == '\n' {
			lines = append(lines, r.finishLine())
			continue
		}
		r.began = true
		r.writeRune(c)
	}
	return lines
}

// Flush returns the last line if it has no line break.
func (r *Renderer) Flush() []Line {
	if !r.began {
		return nil
	}
	return []Line{r.finishLine()}
}

func (r *Renderer) writeRune(c rune) {
	switch r.parser.next(c) {
	case control:
		return
	case colors:
		r.style = r.style.apply(string(r.parser.params))
		return
	}
	switch {
	case c == '\r':
		r.carried = true
	case isHidden(c):
	default:
		r.print(c)
	}
}

// print writes one visible character. After a carriage return, new text replaces the line, as a
// terminal overwrites it. So only the last state of a progress bar remains.
func (r *Renderer) print(c rune) {
	if r.carried {
		r.restart()
	}
	r.width++
	if r.width > MaxLine {
		return
	}
	if r.style != r.written {
		r.closeSpan()
		if r.style != (style{}) {
			fmt.Fprintf(&r.out, `<span class="%s">`, r.style.classes())
		}
		r.written = r.style
	}
	switch c {
	case '<', '>', '&', '"', '\'':
		r.out.WriteString(html.EscapeString(string(c)))
	default:
		r.out.WriteRune(c)
	}
	if r.heads < headLength {
		r.heads++
		r.head.WriteRune(c)
	}
}

func (r *Renderer) restart() {
	r.out.Reset()
	r.head.Reset()
	r.width = 0
	r.heads = 0
	r.carried = false
	r.written = style{}
}

func (r *Renderer) closeSpan() {
	if r.written != (style{}) {
		r.out.WriteString("</span>")
	}
}

// finishLine returns the finished line. It also ends a control string, so that an unfinished one cannot hide
// the rest of the log.
func (r *Renderer) finishLine() Line {
	r.number++
	r.closeSpan()
	if r.width > MaxLine {
		fmt.Fprintf(&r.out, `<span class="more"> … %d more characters, in the raw log</span>`, r.width-MaxLine)
	}
	head := r.head.String()
	l := Line{
		Number: r.number,
		HTML:   template.HTML(r.out.String()),
		Step:   stepNumber(head),
		Head:   head,
	} // #nosec G203 -- print escapes every character
	r.restart()
	r.parser.state, r.began = ground, false
	return l
}

// stepNumber returns the number of a line like "#7 …", the format of BuildKit's plain progress.
func stepNumber(head string) string {
	rest, found := strings.CutPrefix(head, "#")
	if !found {
		return ""
	}
	digits, _, found := strings.Cut(rest, " ")
	if !found || digits == "" || len(digits) > 6 || strings.Trim(digits, "0123456789") != "" {
		return ""
	}
	return digits
}

// isHidden reports whether a character is removed: control characters except tab, characters that
// reorder text, invisible characters and tag characters.
func isHidden(c rune) bool {
	switch {
	case c == '\t':
		return false
	case c < 0x20, c >= 0x7f && c <= 0x9f:
		return true
	case c == 0x061c, c == 0x200b, c == 0x200e, c == 0x200f, c == 0xfeff:
		return true
	case c >= 0x2028 && c <= 0x202e, c >= 0x2060 && c <= 0x206f:
		return true
	}
	return c >= 0xe0000 && c <= 0xe0fff
}
