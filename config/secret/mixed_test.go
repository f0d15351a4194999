package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"slipway/config/secret"
)

// A printer prints secrets in forms that mix several escapes. It shares no code with the package.
type printer struct{ *rand.Rand }

// escape returns one of the ways in which a byte of ASCII is written.
func (p printer) escape(c byte) string {
	forms := []string{
		string(c), fmt.Sprintf("%%%02x", c), fmt.Sprintf("%%%02X", c), fmt.Sprintf(`\x%02x`, c),
		fmt.Sprintf(`\u%04x`, c), fmt.Sprintf(`\u{%x}`, c), fmt.Sprintf(`\U%08X`, c), fmt.Sprintf(`\%03o`, c),
		fmt.Sprintf("&#%d;", c), fmt.Sprintf("&#x%x;", c), fmt.Sprintf("&#x%06X;", c),
	}
	if entity := html.EscapeString(string(c)); len(entity) > 1 {
		forms = append(forms, entity)
	}
	if query := url.QueryEscape(string(c)); query != string(c) {
		forms = append(forms, query)
	}
	return forms[p.IntN(len(forms))]
}

func (p printer) color() string {
	codes := []string{"\x1b[0m", "\x1b[38;5;196m", "\x1b[K", "\x1b[m\x1b(B", "\x1b[01;31m\x1b[K"}
	return strings.Repeat(codes[p.IntN(len(codes))], 1+p.IntN(4))
}

// mixed escapes each byte in a way of its own, and puts color codes between them.
func (p printer) mixed(value string) string {
	var b strings.Builder
	colors := p.IntN(3) == 0
	plain := p.IntN(3)
	for i := range len(value) {
		if i > 0 && colors && p.IntN(4) == 0 {
			b.WriteString(p.color())
		}
		if p.IntN(3) < plain {
			b.WriteByte(value[i])
		} else {
			b.WriteString(p.escape(value[i]))
		}
	}
	return b.String()
}

// wrapped prints an encoding over lines of unequal length, with the prefixes that lines have in a log.
func (p printer) wrapped(text string) string {
	ends := []string{"\n", "\r\n", "\n\t", "\n#7 0.123 ", "\n#12 345.6 ", "%0A", `\n`, "&#10;", `\r\n`, "\x1b[0m\n"}
	var b strings.Builder
	end, width := ends[p.IntN(len(ends))], 4+p.IntN(77)
	for i := range len(text) {
		if i > 0 && i%width == 0 {
			b.WriteString(end)
		}
		if p.IntN(20) == 0 {
			b.WriteString(p.escape(text[i]))
			continue
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// print returns a leak of a value; all of it must become stars.
func (p printer) print(value string) string {
	switch p.IntN(4) {
	case 0:
		text := hex.EncodeToString([]byte(value))
		if p.IntN(2) == 0 {
			text = strings.ToUpper(text)
		}
		return p.wrapped(text)
	case 1:
		encodings := []*base64.Encoding{
			base64.StdEncoding,
			base64.URLEncoding,
			base64.RawStdEncoding,
			base64.RawURLEncoding,
		}
		return p.wrapped(encodings[p.IntN(4)].EncodeToString([]byte(value)))
	}
	return p.mixed(value)
}

// noise returns a text that looks like the secrets, or like an escape that has begun.
func (p printer) noise(secrets []string) string {
	var b strings.Builder
	pieces := []string{
		"%", `\`, `\x`, `\u00`, "&", "&#", "&#x", "'", `\\`, "\x1b", "\x1b[", "\n", "#7 0.1 ", "+", "&amp", "word ",
	}
	for range p.IntN(6) {
		if p.IntN(2) == 0 {
			s := secrets[p.IntN(len(secrets))]
			b.WriteString(p.mixed(s[:p.IntN(len(s))]))
			continue
		}
		b.WriteString(pieces[p.IntN(len(pieces))])
	}
	return b.String()
}

// secrets returns up to 120 values, many of them with the same start.
func (p printer) secrets() []string {
	const letters = `abAB01%\&'"+/=<;#x `
	begin := []string{"https://", "AKIA", strings.Repeat("a", 200), strings.Repeat(`\`, 200), ""}[p.IntN(5)]
	var all []string
	for range 1 + p.IntN([]int{2, 10, 120}[p.IntN(3)]) {
		var b strings.Builder
		b.WriteString(begin)
		for n := 4 + p.IntN([]int{8, 60, 300}[p.IntN(3)]); n > 0; n-- {
			b.WriteByte(letters[p.IntN(len(letters))])
		}
		all = append(all, b.String()+"z")
	}
	return all
}

// FuzzMixed prints one of several secrets in mixed forms between texts that look like secrets.
func FuzzMixed(f *testing.F) {
	for seed := range uint64(100) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		p := printer{rand.New(rand.NewPCG(seed, 1))}
		values := p.secrets()
		secrets := make([]secret.Secret, len(values))
		for i, v := range values {
			secrets[i] = secret.New(v)
		}
		r := secret.NewRedactor(secrets...)
		value := values[p.IntN(len(values))]
		before, shown, after := p.noise(values), p.print(value), p.noise(values)
		text := before + shown + after
		got := check(t, r, text, uint8(p.IntN(256)))
		masked := got[len(before) : len(before)+len(shown)]
		if rest := bytes.Trim(masked, "*"); len(rest) > 0 {
			t.Errorf("%q of %d values after %q: got %q of %q, want * only", value, len(values), before, masked, shown)
		}
	})
}

// Text that begins like many secrets is shown, and each of the secrets is masked.
func TestSecretsThatBeginAlike(t *testing.T) {
	var secrets []secret.Secret
	for i := range 200 {
		secrets = append(secrets, secret.New(fmt.Sprintf("https://user:%03d@example.com/", i)))
	}
	r := secret.NewRedactor(secrets...)
	const shown = "fetch https://user@example.com/ and https://user:2"
	if got := string(check(t, r, shown, 7)); got != shown {
		t.Errorf("text without a secret: got %q, want %q", got, shown)
	}
	for _, s := range secrets {
		text := "a " + strings.ReplaceAll(s.Reveal(), "/", `\u002f`) + " b"
		want := "a " + strings.Repeat("*", len(text)-4) + " b"
		if got := string(check(t, r, text, 5)); got != want {
			t.Fatalf("masked text: got %q, want %q", got, want)
		}
	}
}
