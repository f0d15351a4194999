package secret_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/url"
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
			if len(got) != len(c.text) || bytes.Contains(got, []byte(c.leak)) || !bytes.ContainsRune(got, '*') {
				t.Errorf("%q became %q", c.text, got)
			}
			if string(text) != c.text {
				t.Error("the caller's text was changed")
			}
		})
	}
}

func TestMaskLeavesTheRest(t *testing.T) {
	r := secret.NewRedactor(secret.New("hunter22"), secret.New("abc"), secret.New(""), secret.New("-----BEGIN-----\nline one of it\nshort\n"))
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
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	var none *secret.Redactor
	if got := string(none.Mask([]byte("x"))); got != "x" {
		t.Errorf("the nil redactor made %q", got)
	}
}

func TestOverlappingSecretsAreMaskedWhole(t *testing.T) {
	r := secret.NewRedactor(secret.New("abcdef"), secret.New("defghi"), secret.New("aaaa"))
	for text, want := range map[string]string{"xabcdefghiy": "x*********y", "baaaaaab": "b******b"} {
		if got := string(r.Mask([]byte(text))); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

// stream writes text in pieces of the given sizes, over and over.
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
			t.Fatalf("wrote %d of %d, error %v", written, n, err)
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
				t.Fatalf("pieces of %d and %d:\n got %q\nwant %q", first, second, got, want)
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
			r.Fatalf("%q\n got %q\nwant %q", text, got, want)
		}
	})
}

// FuzzStream cuts a text anywhere, and looks for the secret in every form in which it leaks.
func FuzzStream(f *testing.F) {
	f.Add("hunter22", "a hunter22 b", uint8(3))
	f.Add("aaaa", "aaaaaaaab", uint8(1))
	f.Add("line one\nline two 2", "line two 2 and line one\nline two 2", uint8(7))
	f.Add("p&ss wörd/?", "Authorization: Basic ", uint8(5))
	f.Add("\x00\xff\xfe\x80", "a\x00\xff\xfe\x80b", uint8(2))
	f.Fuzz(func(t *testing.T, value, text string, size uint8) {
		r := secret.NewRedactor(secret.New(value))
		forms := []string{value, url.QueryEscape(value), url.PathEscape(value), base64.StdEncoding.EncodeToString([]byte(value)), base64.URLEncoding.EncodeToString([]byte(value))}
		for i, leak := range append([]string{""}, forms...) {
			whole := []byte(text + leak + text)
			got := stream(t, r, whole, []int{int(size), i + 1})
			if want := r.Mask(whole); !bytes.Equal(got, want) {
				t.Fatalf("got %q, want %q", got, want)
			}
			if len(got) != len(whole) {
				t.Fatalf("%d bytes became %d", len(whole), len(got))
			}
			for _, form := range forms {
				if len(value) >= 4 && !strings.Contains(form, "*") && bytes.Contains(got, []byte(form)) {
					t.Fatalf("%q is in %q", form, got)
				}
			}
			for j := range got {
				if got[j] != whole[j] && got[j] != '*' {
					t.Fatalf("%q became %q", whole, got)
				}
			}
		}
	})
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
			t.Errorf("after %q: %q, error %v; want %q", c.write, out.String(), err, c.want)
		}
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestStreamTellsOfTheWriterBelow(t *testing.T) {
	w := secret.NewRedactor(secret.New("hunter22")).NewWriter(brokenWriter{})
	if n, err := w.Write([]byte("text")); n != 0 || err == nil {
		t.Errorf("wrote %d, error %v", n, err)
	}
	var none *secret.Redactor
	if _, err := none.NewWriter(brokenWriter{}).Write([]byte("text")); err == nil {
		t.Error("no error without a redactor")
	}
}

func BenchmarkMask(b *testing.B) {
	var secrets []secret.Secret
	for i := range 10 {
		secrets = append(secrets, secret.New(strings.Repeat(string(rune('a'+i)), 3)+"-some-long-token-value"))
	}
	r := secret.NewRedactor(secrets...)
	text := bytes.Repeat([]byte("#12 3.456 npm http fetch GET 200 https://registry.npmjs.org/left-pad 12ms\n"), 3500)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		r.Mask(text)
	}
}

func TestAStreamHidesWhatCameToBeKnown(t *testing.T) {
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
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestARedactorStaysAsItIs(t *testing.T) {
	r := secret.NewRedactor(secret.New("see1"), secret.New("see2"), secret.New("see3"))
	fourth, fifth := r.With(secret.New("see4")), r.With(secret.New("see5"))
	for one, want := range map[*secret.Redactor]string{r: "**** see4 see5", fourth: "**** **** see5", fifth: "**** see4 ****"} {
		if got := string(one.Mask([]byte("see1 see4 see5"))); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
