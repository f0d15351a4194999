package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// A leak is a text that gives a secret away: text[from:to] must become stars.
type leak struct {
	name, text string
	from, to   int
}

// leaksOf returns the forms in which programs print a value. It shares no code with the package: the
// encoders are the standard library's, or written from the formats' definitions.
func leaksOf(value string) []leak {
	all := []leak{
		whole("raw", value),
		whole("url query", url.QueryEscape(value)),
		whole("url path", url.PathEscape(value)),
		whole("url, every byte, lower", eachByte("%%%02x", value)),
		whole("url, every byte, upper", eachByte("%%%02X", value)),
		whole(`\x of every byte`, eachByte(`\x%02x`, value)),
		whole("octal of every byte", eachByte(`\%03o`, value)),
		quoted("Go", strconv.Quote(value)),
		whole("shell '\\''", strings.ReplaceAll(value, `'`, `'\''`)),
		whole("shell '\"'\"'", strings.ReplaceAll(value, `'`, `'"'"'`)),
		whole("printf %q", shellBackslash(value)),
		whole("$'...'", ansiC(value)),
		whole("hex", hex.EncodeToString([]byte(value))),
		whole("hex, upper", strings.ToUpper(hex.EncodeToString([]byte(value)))),
		whole("xxd -p", wrap(hex.EncodeToString([]byte(value)), 60, "\n")),
	}
	for _, code := range []string{"\x1b[31m", "\x1b[1;38;2;255;0;0m\x1b[K", "\x1b(B\x1b[m"} {
		all = append(
			all,
			whole("color code", value[:1]+code+value[1:]),
			whole("color codes", value[:2]+code+value[2:3]+code+value[3:]),
		)
	}
	if utf8.ValidString(value) {
		all = append(all, textLeaks(value)...)
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
		all = append(all, base64Leaks(encoding, value)...)
	}
	return all
}

// textLeaks are forms of characters, not bytes.
func textLeaks(value string) []leak {
	var plain bytes.Buffer
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // a string always has a form
	escaped, _ := json.Marshal(value)
	var units, braces strings.Builder
	for _, unit := range utf16.Encode([]rune(value)) {
		fmt.Fprintf(&units, `\u%04X`, unit)
	}
	for _, r := range value {
		fmt.Fprintf(&braces, `\u{%x}`, r)
	}
	all := []leak{
		quoted("JSON", string(escaped)),
		quoted("JSON without HTML", strings.TrimSuffix(plain.String(), "\n")),
		quoted(`JSON with \/`, strings.ReplaceAll(string(escaped), "/", `\/`)),
		quoted("Go ASCII", strconv.QuoteToASCII(value)),
		whole(`\u of every unit`, units.String()),
		whole(`\u{} of every character`, braces.String()),
		whole("JavaScript", template.JSEscapeString(value)),
		whole("HTML", html.EscapeString(value)),
		whole("HTML &apos;", strings.ReplaceAll(html.EscapeString(value), "&#39;", "&apos;")),
		whole("HTML decimal", eachRune("&#%d;", value)),
		whole("HTML hex", eachRune("&#x%X;", value)),
	}
	if !strings.Contains(value, "\x00") { // the template replaces it
		all = append(all, whole("HTML template", template.HTMLEscapeString(value)))
	}
	if escaped[1] != '\\' {
		all = append(all, quoted("JSON in color", string(escaped[:2])+`\u001b[31m`+string(escaped[2:])))
	}
	return all
}

// base64Leaks puts the value behind other bytes, and wraps the text.
func base64Leaks(encoding *base64.Encoding, value string) []leak {
	var all []leak
	for shift := range 3 {
		text := encoding.EncodeToString([]byte("xyz"[:shift] + value + "z"))
		from, to := (shift*8+5)/6, (shift+len(value))*8/6
		all = append(all, leak{fmt.Sprint("base64 after ", shift), text, from, to})
		for _, width := range []int{4, 5, 7, 76} {
			for _, end := range []string{"\n", "\r\n", "\n  ", "\n#12 3.456 ", `\n`} {
				first := shownFrom(from, to, width)
				if to-first < 4 {
					continue
				}
				all = append(all, leak{
					name: fmt.Sprintf("base64 after %d, wrapped at %d by %q", shift, width, end),
					text: wrap(text, width, end), from: first + first/width*len(end), to: to + (to-1)/width*len(end),
				})
			}
		}
	}
	exact := encoding.EncodeToString([]byte(value))
	return append(all, whole("base64", exact), whole("base64 in a URL", url.QueryEscape(exact)))
}

// shownFrom is where stars begin if text[from:to] is wrapped at a width: fewer than four bytes at the
// end of a line are shown.
func shownFrom(from, to, width int) int {
	if rest := width - from%width; rest < 4 && from+rest < to {
		return from + rest
	}
	return from
}

func whole(name, text string) leak { return leak{name, text, 0, len(text)} }

// quoted leaves out the quotes around a text.
func quoted(name, text string) leak { return leak{name, text, 1, len(text) - 1} }

func eachByte(format, value string) string {
	var b strings.Builder
	for i := range len(value) {
		fmt.Fprintf(&b, format, value[i])
	}
	return b.String()
}

func eachRune(format, value string) string {
	var b strings.Builder
	for _, r := range value {
		fmt.Fprintf(&b, format, r)
	}
	return b.String()
}

func shellBackslash(value string) string {
	var b strings.Builder
	for i := range len(value) {
		if c := value[i]; c > ' ' && c < 0x7f && strings.IndexByte("|&;()<>\"'`$\\*?[#~=%!{}^,] ", c) >= 0 || c == ' ' {
			b.WriteByte('\\')
		}
		b.WriteByte(value[i])
	}
	return b.String()
}

func ansiC(value string) string {
	var b strings.Builder
	for i := range len(value) {
		switch c := value[i]; {
		case strings.IndexByte("\a\b\t\n\v\f\r\x1b", c) >= 0:
			b.WriteByte('\\')
			b.WriteByte("abtnvfrE"[strings.IndexByte("\a\b\t\n\v\f\r\x1b", c)])
		case c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func wrap(text string, width int, end string) string {
	var b strings.Builder
	for ; len(text) > width; text = text[width:] {
		b.WriteString(text[:width] + end)
	}
	return b.String() + text
}
