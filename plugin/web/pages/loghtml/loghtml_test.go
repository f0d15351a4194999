package loghtml_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
	"pgregory.net/rapid"

	"slipway/plugin/web/pages/loghtml"
)

func render(text string) []loghtml.Line {
	var r loghtml.Renderer
	return append(r.Write([]byte(text)), r.Flush()...)
}

func htmlOf(lines []loghtml.Line) []string {
	var all []string
	for _, l := range lines {
		all = append(all, string(l.HTML))
	}
	return all
}

// S9: a log is text, and only SGR control sequences are kept.
func TestS9Corpus(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"plain":                {"hello", "hello"},
		"markup":               {`<img src=x onerror=alert(1)>`, `&lt;img src=x onerror=alert(1)&gt;`},
		"entities":             {`&lt; "a" 'b'`, `&amp;lt; &#34;a&#34; &#39;b&#39;`},
		"script in a color":    {"\x1b[31m<script>\x1b[0m", `<span class="f1">&lt;script&gt;</span>`},
		"OSC 8 link":           {"\x1b]8;;javascript:alert(1)\x07click\x1b]8;;\x07 me", "click me"},
		"OSC 8 ended by ST":    {"\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\", "click"},
		"OSC 52 clipboard":     {"a\x1b]52;c;cm0gLXJmIC8=\x07b", "ab"},
		"title":                {"\x1b]0;root@host\x07x", "x"},
		"unfinished OSC":       {"a\x1b]8;;https://evil", "a"},
		"DCS, APC, PM, SOS":    {"a\x1bPq#0\x1b\\b\x1b_x\x1b\\c\x1b^x\x1b\\d\x1bXx\x1b\\e", "abcde"},
		"C1 CSI":               {"a\u009b31mb", `a<span class="f1">b</span>`},
		"C1 OSC":               {"a\u009d8;;x\u009cb", "ab"},
		"other C1":             {"a\u0085\u008fb", "ab"},
		"raw C1 byte":          {"a\x9b31mb", "a\uFFFD31mb"},
		"cursor and erase":     {"\x1b[2J\x1b[1;1Hx\x1b[K\x1b[1A", "x"},
		"private mode":         {"\x1b[?25lx\x1b[?25h", "x"},
		"charset":              {"\x1b(Bx\x1b=y\x1bcz", "xyz"},
		"escape in a sequence": {"\x1b[31\x1b[1mx", `<span class="b">x</span>`},
		"bell and backspace":   {"a\x07b\x08c\x00d", "abcd"},
		"bidi":                 {"a\u202eb\u2066c\u200fd\u061ce", "abcde"},
		"invisible":            {"a\u200bb\ufeffc\u2028d\U000E0041e", "abcde"},
		"tab and wide":         {"a\tb → 日本", "a\tb → 日本"},
		"progress":             {"10%\r50%\r100%", "100%"},
		"progress with color":  {"\x1b[32m10%\r\x1b[32m100%\x1b[0m", `<span class="f2">100%</span>`},
		"windows line end":     {"a\r\n", "a"},
		"bold, then back":      {"\x1b[1;4;9;3mx\x1b[22;24;29;23my", `<span class="b i u s">x</span>y`},
		"dim on a background": {
			"\x1b[2;44;97mx\x1b[49;39my",
			`<span class="d f15 g4">x</span><span class="d">y</span>`,
		},
		"256 colors": {
			"\x1b[38;5;196mx\x1b[48;5;10my\x1b[38;5;244mz",
			`<span class="f9">x</span><span class="f9 g10">y</span><span class="f7 g10">z</span>`,
		},
		"true color":            {"\x1b[38;2;0;0;250mx\x1b[0my", `<span class="f12">x</span>y`},
		"color cut short":       {"\x1b[38;5mx\x1b[38mx", "xx"},
		"color out of range":    {"\x1b[38;5;999mx", "x"},
		"bright":                {"\x1b[91;102mx", `<span class="f9 g10">x</span>`},
		"empty parameters":      {"\x1b[31mx\x1b[my", `<span class="f1">x</span>y`},
		"foreign parameters":    {"\x1b[>4;2mx\x1b[4:3my", "xy"},
		"too many parameters":   {"\x1b[" + strings.Repeat("1;", 100) + "31mx", "x"},
		"javascript is no link": {"javascript:alert(1)", "javascript:alert(1)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff([]string{tt.want}, htmlOf(render(tt.in))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestS9LineOf10MB(t *testing.T) {
	lines := render(strings.Repeat("é", 5<<20) + "\nnext")
	if len(lines) != 2 {
		t.Fatalf("lines: got %d, want 2", len(lines))
	}
	if n := len(lines[0].HTML); n > 2*loghtml.MaxLine+200 {
		t.Errorf("HTML of the line: got %d bytes, want at most %d", n, 2*loghtml.MaxLine+200)
	}
	if !strings.Contains(string(lines[0].HTML), fmt.Sprintf("%d more characters", 5<<20-loghtml.MaxLine)) {
		t.Errorf("line: got …%s, want the number of missing characters", lines[0].HTML[len(lines[0].HTML)-120:])
	}
	if lines[1].HTML != "next" {
		t.Errorf(`HTML: got %q, want "next"`, lines[1].HTML)
	}
	if lines[1].Number != 2 {
		t.Errorf("number: got %v, want 2", lines[1].Number)
	}
}

func TestUnfinishedControlStringEndsWithItsLine(t *testing.T) {
	if diff := cmp.Diff([]string{"a", "b"}, htmlOf(render("a\x1b]8;;x\nb\n"))); diff != "" {
		t.Error(diff)
	}
}

func TestColorContinuesAcrossLines(t *testing.T) {
	want := []string{`<span class="f1">a</span>`, `<span class="f1">b</span>`}
	if diff := cmp.Diff(want, htmlOf(render("\x1b[31ma\nb\n"))); diff != "" {
		t.Error(diff)
	}
}

func TestRow(t *testing.T) {
	want := `<div class="line" id="L1"><a class="no" href="#L1">1</a><span class="tx">&lt;b&gt;</span></div>`
	if got := render("<b>")[0].Row(); string(got) != want {
		t.Errorf("row: got  %s\nwant %s", got, want)
	}
}

// The sizes of a log's pieces do not change the result.
func TestPiecesDoNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := []string{
			"a", "é", "日", "\n", "\r", "\x1b", "[", "31", "m", "]8;;", "\x07", "\\",
			"\u202e", "<b>", "\x80", "#7 ", "\u009b",
		}
		parts := rapid.SliceOf(rapid.SampledFrom(pieces)).
			Draw(t, "parts")
		text := []byte(strings.Join(parts, ""))
		var r loghtml.Renderer
		var got []loghtml.Line
		for rest := text; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "cut")
			got = append(got, r.Write(rest[:n])...)
			rest = rest[n:]
		}
		got = append(got, r.Flush()...)
		if diff := cmp.Diff(htmlOf(render(string(text))), htmlOf(got)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzNothingButSpans(f *testing.F) {
	for _, seed := range []string{
		"\x1b[31m<img src=x onerror=alert(1)>", "\x1b]8;;javascript:alert(1)\x07x", "a\r\nb\u202ec",
		"#7 [1/2] RUN x\n#7 DONE 1s\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, l := range render(string(text)) {
			checkMarkup(t, string(text), string(l.Row()))
		}
	})
}

// checkMarkup checks that the HTML of a text has only the row's own elements.
func checkMarkup(t *testing.T, text, row string) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(row))
	if err != nil {
		t.Fatal(err)
	}
	for d := range doc.Descendants() {
		if d.Type == html.ElementNode && !strings.Contains(" html head body div span a ", " "+d.Data+" ") {
			t.Fatalf("HTML of %q: got an element %s, want text", text, d.Data)
		}
		for _, a := range d.Attr {
			own := a.Key == "class" || d.Data == "div" && a.Key == "id" ||
				d.Data == "a" && a.Key == "href" && strings.HasPrefix(a.Val, "#L")
			if !own {
				t.Fatalf("HTML of %q: got an attribute %s=%q, want none", text, a.Key, a.Val)
			}
		}
	}
}

func TestFold(t *testing.T) {
	log := strings.Join([]string{
		"fetch",
		"#1 [internal] load", "#1 a", "#1 b", "#1 DONE 0.0s", "",
		"#2 [1/2] FROM x", "#2 CACHED", "",
		"#3 [2/2] RUN go build", "#3 1.0 x", "#3 1.1 y", "#3 ERROR: exit code 1",
		"done",
	}, "\n")
	type group struct {
		Title, Note string
		Open        bool
		Lines       int
	}
	var got []group
	for _, g := range loghtml.Fold(render(log)) {
		got = append(got, group{g.Title, g.Note, g.Open, len(g.Lines)})
	}
	want := []group{
		{"", "", false, 1},
		{"[internal] load", "0.0s", false, 5},
		{"", "", false, 3},
		{"[2/2] RUN go build", "", true, 4},
		{"", "", true, 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if loghtml.Fold(nil) != nil {
		t.Error("groups of an empty log: got some, want none")
	}
}

func TestStep(t *testing.T) {
	for text, want := range map[string]string{"#7 x": "7", "#7": "", "# 7": "", "#x y": "", "7 x": "", "#1234567 x": ""} {
		if got := render(text)[0].Step; got != want {
			t.Errorf("step of %q = %q, want %q", text, got, want)
		}
	}
}
