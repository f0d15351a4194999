package loghtml_test

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"slipway/plugin/web/pages/loghtml"
)

func colored(text string) string {
	return convert(loghtml.Plain{Colors: true}, text)
}

func convert(p loghtml.Plain, text string) string {
	out := p.Write([]byte(text))
	return string(append(out, p.Flush()...))
}

// A8: without colors, no control sequence of a log reaches a terminal.
func TestA8PlainTextHasNoColors(t *testing.T) {
	for log, want := range map[string]string{
		"\x1b[1;31mred\x1b[0m \x1b[38:5:12mblue\x1b[m\n": "red blue\n",
		"\x1b[8mhidden\x1b[m":                            "hidden",
		"a\u009b31mb":                                    "ab",
		"a\x1b]0;owned\x07b\r\n":                         "ab\r\n",
		"a\x1b[":                                         "a",
	} {
		if got := convert(loghtml.Plain{}, log); got != want {
			t.Errorf("%q: got %q, want %q", log, got, want)
		}
	}
}

// A8: with colors, only text and colors of a log reach a terminal.
func TestA8PlainText(t *testing.T) {
	for name, c := range map[string]struct{ log, want string }{
		"text": {"one\ttwo\r\nthree\n", "one\ttwo\r\nthree\n"},
		"colors": {
			"\x1b[1;31mred\x1b[0m \x1b[38:5:12mblue\x1b[m",
			"\x1b[1;31mred\x1b[0m \x1b[38:5:12mblue\x1b[m",
		},
		"C1 colors":               {"a\u009b31mb", "a\x1b[31mb"},
		"OSC title":               {"a\x1b]0;owned\x07b", "ab"},
		"OSC 52 clipboard":        {"a\x1b]52;c;cm0gLXJm\x1b\\b", "ab"},
		"OSC 8 link":              {"\x1b]8;;https://evil.example\x1b\\here\x1b]8;;\x1b\\", "here"},
		"C1 OSC":                  {"a\u009d0;owned\u009cb", "ab"},
		"unfinished OSC":          {"a\x1b]0;owned\nb", "a\nb"},
		"cursor":                  {"a\x1b[2Ab\x1b[1;1Hc\x1b[2Jd", "abcd"},
		"C1 CSI":                  {"a\u009b2Jb", "ab"},
		"raw C1 bytes":            {"a\x9b2Jb\x85", "a\uFFFD2Jb\uFFFD"},
		"report request":          {"a\x1b[6nb\x1b[cc", "abc"},
		"modifyOtherKeys":         {"a\x1b[>4;1mb", "ab"},
		"private m":               {"a\x1b[?4mb", "ab"},
		"many parameters":         {"a\x1b[" + strings.Repeat("1;", 100) + "mb", "ab"},
		"DCS, SOS, PM, APC":       {"a\x1bPx\x1b\\b\x1bXx\x1b\\c\x1b^x\x1b\\d\x1b_x\x1b\\e", "abcde"},
		"charset, reset, keypad":  {"a\x1b(0b\x1bcc\x1b=d", "abcd"},
		"bell, backspace, shifts": {"a\x07b\x08c\x0ed\x0fe\x00f\x7fg", "abcdefg"},
		"reordered text":          {"a\u202eb\u2066c", "abc"},
		"unfinished character":    {"a\xe2\x82", "a\uFFFD\uFFFD"},
	} {
		if got := colored(c.log); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// safe matches text and colors.
var safe = regexp.MustCompile(`^(?:[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x{9f}]|\x1b\[[0-9;:]*m)*$`)

func FuzzPlain(f *testing.F) {
	f.Add([]byte("a\x1b[31mb\x1b]0;x\x07\u009b2J\xc2"), 3)
	f.Fuzz(func(t *testing.T, log []byte, cut int) {
		whole := colored(string(log))
		if !utf8.ValidString(whole) {
			t.Error("text: got invalid UTF-8, want valid UTF-8")
		}
		if !safe.MatchString(whole) {
			t.Error("text: got unsafe characters, want safe ones")
		}
		if strings.ContainsRune(convert(loghtml.Plain{}, string(log)), 0x1b) {
			t.Error("text without colors: got a control sequence, want none")
		}
		if cut < 0 || cut > len(log) {
			return
		}
		p := loghtml.Plain{Colors: true}
		pieces := bytes.Join([][]byte{p.Write(log[:cut]), p.Write(log[cut:]), p.Flush()}, nil)
		if string(pieces) != whole {
			t.Errorf("%q cut at %d: got %q, want %q", log, cut, pieces, whole)
		}
	})
}
