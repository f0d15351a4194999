package secret_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"slipway/config/secret"
)

func TestS5Mask(t *testing.T) {
	value := "p&ss wörd/?"
	inHeader := base64.StdEncoding.EncodeToString([]byte("x-token-auth:" + value))
	for _, c := range []struct{ name, text, leak string }{
		{"as it is", "token=" + value + ";", value},
		{"twice", value + value, value},
		{"query", "https://h/?t=" + url.QueryEscape(value), url.QueryEscape(value)},
		{"path", "https://h/" + url.PathEscape(value), url.PathEscape(value)},
		{"base64", base64.StdEncoding.EncodeToString([]byte(value)), base64.StdEncoding.EncodeToString([]byte(value))},
		{"base64 for URLs", base64.URLEncoding.EncodeToString([]byte(value)), base64.URLEncoding.EncodeToString([]byte(value))},
		{"within base64", "Basic " + inHeader, inHeader[20 : len(inHeader)-4]},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := []byte(c.text)
			got := secret.NewRedactor(secret.New(value)).Mask(text)
			switch {
			case len(got) != len(c.text):
				t.Errorf("mask of %q: got %d bytes, want %d", c.text, len(got), len(c.text))
			case bytes.Contains(got, []byte(c.leak)):
				t.Errorf("mask of %q: got %q, want no %q in it", c.text, got, c.leak)
			case !bytes.ContainsRune(got, '*'):
				t.Errorf("mask of %q: got %q, want * in it", c.text, got)
			}
			if string(text) != c.text {
				t.Errorf("text of the caller: got %q, want %q", text, c.text)
			}
		})
	}
}

func TestMaskLeavesTheRest(t *testing.T) {
	r := secret.NewRedactor(
		secret.New("hunter22"),
		secret.New("abc"),
		secret.New(""),
		secret.New("-----BEGIN-----\nline one of it\nshort\n"),
	)
	for text, want := range map[string]string{
		"":                       "",
		"nothing here":           "nothing here",
		"a hunter22 b":           "a ******** b",
		"abc is too short":       "abc is too short",
		"hunter2":                "hunter2",
		"#5 0.1 line one of it!": "#5 0.1 **************!",
		"short":                  "short",
		"hunter2hunter22":        "hunter2********",
	} {
		if got := string(r.Mask([]byte(text))); got != want {
			t.Errorf("mask of %q: got %q, want %q", text, got, want)
		}
	}
	var none *secret.Redactor
	if got := string(none.Mask([]byte("x"))); got != "x" {
		t.Errorf(`mask of the nil redactor: got %q, want "x"`, got)
	}
}

func TestOverlappingSecretsAreMaskedWhole(t *testing.T) {
	r := secret.NewRedactor(secret.New("abcdef"), secret.New("defghi"), secret.New("aaaa"))
	for text, want := range map[string]string{"xabcdefghiy": "x*********y", "baaaaaab": "b******b"} {
		if got := string(r.Mask([]byte(text))); got != want {
			t.Errorf("mask of %q: got %q, want %q", text, got, want)
		}
	}
}

// stream writes text in pieces of the given sizes, repeatedly.
func stream(t testing.TB, r *secret.Redactor, text []byte, sizes []int) []byte {
	t.Helper()
	var out bytes.Buffer
	w := r.NewWriter(&out)
	for i := 0; len(text) > 0; i++ {
		n := len(text)
		if len(sizes) > 0 {
			n = min(n, max(1, sizes[i%len(sizes)]))
		}
		if written, err := w.Write(text[:n]); written != n || err != nil {
			t.Fatalf("Write: got %d bytes, error %v, want %d", written, err, n)
		}
		text = text[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestS5StreamIsMaskedAtEverySplit(t *testing.T) {
	r := secret.NewRedactor(secret.New("abcdef"), secret.New("defghi"), secret.New("efgh-longer-one"))
	text := []byte("an abcdefghi and abcde, then abcdefgh-longer-one or efgh-longer-on abcdef")
	want := r.Mask(text)
	for first := 1; first < len(text); first++ {
		for second := 1; second < 12; second++ {
			if got := stream(t, r, text, []int{first, second}); !bytes.Equal(got, want) {
				t.Fatalf("pieces of %d and %d bytes: got %q, want %q", first, second, got, want)
			}
		}
	}
}

func TestStreamIsMaskedLikeTheWhole(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		letters := rapid.StringOfN(rapid.RuneFrom([]rune("ab+\n")), 0, 9, -1)
		redactor := secret.NewRedactor(secret.New(letters.Draw(r, "one")), secret.New(letters.Draw(r, "two")))
		text := []byte(rapid.StringOfN(rapid.RuneFrom([]rune("ab+\nYWJh")), 0, 80, -1).Draw(r, "text"))
		sizes := rapid.SliceOf(rapid.IntRange(1, 9)).Draw(r, "sizes")
		if got, want := stream(t, redactor, text, sizes), redactor.Mask(text); !bytes.Equal(got, want) {
			r.Fatalf("stream of %q: got %q, want %q", text, got, want)
		}
	})
}

// FuzzStream prints a secret in every form in which it leaks between any texts, and cuts the stream
// anywhere.
func FuzzStream(f *testing.F) {
	f.Add("hunter22", "a hunter22 b", uint8(3))
	f.Add("aaaa", "aaaaaaaab", uint8(1))
	f.Add("line one\nline two 2", "line two 2 and line one\nline two 2", uint8(7))
	f.Add("p&ss wörd/?", "Authorization: Basic ", uint8(5))
	f.Add("\x00\xff\xfe\x80", "a\x00\xff\xfe\x80b", uint8(2))
	f.Add(`a\nb'"<>%41+/😀`, `C:\`, uint8(4))
	f.Add("\x1b[1m\r\nx", "&#x", uint8(9))
	f.Fuzz(func(t *testing.T, value, text string, size uint8) {
		r := secret.NewRedactor(secret.New(value))
		check(t, r, text, size)
		if len(value) < 4 {
			return
		}
		for i, l := range leaksOf(value) {
			got := check(t, r, text+l.text+text, size+uint8(i))
			shown := got[len(text)+l.from : len(text)+l.to]
			if strings.Trim(string(shown), "*") != "" {
				t.Fatalf("%s of %q: got %q of %q, want stars", l.name, value, shown, l.text[l.from:l.to])
			}
		}
	})
}

// check masks a text whole and as a stream, and returns it.
func check(t *testing.T, r *secret.Redactor, text string, size uint8) []byte {
	t.Helper()
	want := r.Mask([]byte(text))
	if got := stream(t, r, []byte(text), []int{int(size), int(size) % 5}); !bytes.Equal(got, want) {
		t.Fatalf("stream of %q: got %q, want %q", text, got, want)
	}
	if len(want) != len(text) {
		t.Fatalf("masked text: got %d bytes, want %d", len(want), len(text))
	}
	for i := range want {
		if want[i] != text[i] && want[i] != '*' {
			t.Fatalf("mask of %q: got %q, want each byte unchanged or *", text, want)
		}
	}
	return want
}

func TestStreamHoldsBackOnlyWhatMayBeASecret(t *testing.T) {
	var out bytes.Buffer
	w := secret.NewRedactor(secret.New("hunter22")).NewWriter(&out)
	for _, c := range []struct{ write, want string }{
		{"step 1\n", "step 1\n"},
		{"a hunt", "step 1\na "},
		{"ing\n", "step 1\na hunting\n"},
		{"hunter2", "step 1\na hunting\n"},
		{"2", "step 1\na hunting\n********"},
	} {
		if _, err := w.Write([]byte(c.write)); err != nil || out.String() != c.want {
			t.Errorf("output after %q: got %q, error %v, want %q", c.write, out.String(), err, c.want)
		}
	}
}

// A line is passed on when it ends, because users follow logs. Its last bytes may begin a secret in
// base64 or hex that continues in the next line.
func TestStreamPassesLinesOnAtTheirEnd(t *testing.T) {
	const value = "hunter22-and-more"
	for i := range 3 {
		encoded := base64.StdEncoding.EncodeToString([]byte("xyz"[:i] + value))
		for n := 1; n < 4; n++ {
			var out bytes.Buffer
			w := secret.NewRedactor(secret.New(value)).NewWriter(&out)
			from := []int{0, 2, 3}[i]
			line := "installing " + encoded[from:from+n] + "\n"
			if _, err := w.Write([]byte(line)); err != nil {
				t.Fatal(err)
			}
			if out.String() != line {
				t.Errorf("output: got %q, want line %q before the next write", out.String(), line)
			}
		}
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestStreamReturnsTheErrorOfItsWriter(t *testing.T) {
	w := secret.NewRedactor(secret.New("hunter22")).NewWriter(brokenWriter{})
	if n, err := w.Write([]byte("text")); n != 0 || err == nil {
		t.Errorf("Write: got %d bytes, error %v, want 0 and an error", n, err)
	}
	var none *secret.Redactor
	if _, err := none.NewWriter(brokenWriter{}).Write([]byte("text")); err == nil {
		t.Error("Write without a redactor: got no error, want one")
	}
}

// If a text takes too long, too much is masked, never too little.
func TestMaskOfHostileText(t *testing.T) {
	value := strings.Repeat("a%61", 20_000) + "b"
	r := secret.NewRedactor(secret.New(value))
	text := strings.Repeat("a%61", 100_000) + "\n" + value
	got := check(t, r, text, 255)
	if rest := strings.Trim(string(got[len(text)-len(value):]), "*"); rest != "" {
		t.Errorf("shown bytes of the secret: got %d, want 0", len(rest))
	}
}

func TestStreamHoldsBackABoundedText(t *testing.T) {
	var out bytes.Buffer
	w := secret.NewRedactor(secret.New("hunter22")).NewWriter(&out)
	text := "hunt" + strings.Repeat("\x1b[0m", 10_000)
	for i := range text {
		if _, err := w.Write([]byte(text[i : i+1])); err != nil {
			t.Fatal(err)
		}
		if held := i + 1 - out.Len(); held > 512 {
			t.Fatalf("held bytes after %d bytes: got %d, want 512 at most", i, held)
		}
	}
}

// BenchmarkMask masks a log of 250 kB: plain lines as npm writes them, and lines of JSON.
func BenchmarkMask(b *testing.B) {
	logs := map[string]string{
		"plain": "#12 3.456 npm http fetch GET 200 https://registry.npmjs.org/left-pad 12ms\n",
		"json":  `{"level":"info","msg":"fetched \"left-pad\"","url":"https:\/\/registry.npmjs.org\/left-pad?v=1%2E2","took":12}` + "\n",
	}
	for _, n := range []int{1, 10, 50} {
		var secrets []secret.Secret
		for i := range n {
			secrets = append(
				secrets,
				secret.New(strings.Repeat(string(rune('a'+i%26)), 3)+strconv.Itoa(i)+"-some-long-token-value"),
			)
		}
		r := secret.NewRedactor(secrets...)
		for name, line := range logs {
			text := bytes.Repeat([]byte(line), 250_000/len(line))
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				for b.Loop() {
					r.Mask(text)
				}
			})
		}
	}
}

// BenchmarkMaskHostile masks hostile texts. One repeats the beginning of a long secret, and one has
// escapes that can be read in two ways.
func BenchmarkMaskHostile(b *testing.B) {
	for name, c := range map[string]struct{ value, text string }{
		"repeated":  {strings.Repeat("a", 64<<10) + "b", "a"},
		"backslash": {strings.Repeat(`\`, 64<<10) + "b", `\`},
		"mixed":     {strings.Repeat("a", 64<<10) + "b", "a%61"},
	} {
		r := secret.NewRedactor(secret.New(c.value))
		text := bytes.Repeat([]byte(c.text), 250_000/len(c.text))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				r.Mask(text)
			}
		})
	}
}

func TestAStreamMasksSecretsAddedLater(t *testing.T) {
	var out bytes.Buffer
	w := secret.NewRedactor(secret.New("the-first-one")).NewWriter(&out)
	write := func(text string) {
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	write("tale\nthe")
	w.Hide(secret.New("tale"))
	write("-first-one tale the-first")
	write("-one\n")
	if got, want := out.String(), "tale\n************* **** *************\n"; got != want {
		t.Errorf("output: got %q, want %q", got, want)
	}
}

func TestARedactorIsImmutable(t *testing.T) {
	r := secret.NewRedactor(secret.New("see1"), secret.New("see2"), secret.New("see3"))
	fourth, fifth := r.With(secret.New("see4")), r.With(secret.New("see5"))
	for one, want := range map[*secret.Redactor]string{r: "**** see4 see5", fourth: "**** **** see5", fifth: "**** see4 ****"} {
		if got := string(one.Mask([]byte("see1 see4 see5"))); got != want {
			t.Errorf("masked text: got %q, want %q", got, want)
		}
	}
}
