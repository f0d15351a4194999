package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
)

// minLength is the minimum length of a masked secret, in bytes. Shorter ones would mask half the text.
const minLength = 4

// minLine is the minimum length of a masked line of a secret with several lines, in bytes. A log shows lines
// one by one.
const minLine = 8

// star replaces each byte of a masked secret.
const star = '*'

// A Redactor masks secrets in text, in the forms in which they leak:
//
//   - as they are, and line by line;
//   - escaped for URLs, JSON, JavaScript, HTML, Go and shells, wholly or in part, also within
//     the encodings below;
//   - in hexadecimal, and in base64 at any alignment, also wrapped over lines of four bytes or more;
//   - with ANSI color codes between their bytes.
//
// Each byte of such a form becomes one star, so that offsets into the text stay valid. The time is
// linear in the length of the text. A Redactor is immutable and safe for concurrent use. The nil
// Redactor masks nothing.
type Redactor struct {
	plain   patterns
	wrapped patterns // patterns that may have line breaks after the first four bytes
	seeker  *seeker
	longest int // length of the longest pattern, in bytes
}

// patterns are forms of secrets, sorted, each once.
type patterns struct {
	texts []string
	first [256 + 1]int // texts[first[c]:first[c+1]] begin with the byte c
}

// index sorts the texts, removes duplicates, and sets first.
func (p *patterns) index() {
	slices.Sort(p.texts)
	p.texts = slices.Compact(p.texts)
	i := 0
	for c := range p.first {
		for i < len(p.texts) && int(p.texts[i][0]) < c {
			i++
		}
		p.first[c] = i
	}
}

// A pattern is one form of a secret, before any escaping.
type pattern struct {
	text  string
	wraps bool // it may have line breaks after the first four bytes
}

// gramSize is the number of bytes that the lookup of a place compares, at most minLength.
const gramSize = 4

// NewRedactor returns a Redactor. It leaves out secrets shorter than 4 bytes.
func NewRedactor(secrets ...Secret) *Redactor {
	return (*Redactor)(nil).With(secrets...)
}

// With returns a Redactor that masks these secrets as well.
func (r *Redactor) With(secrets ...Secret) *Redactor {
	more := &Redactor{seeker: newSeeker()}
	if r != nil {
		more.plain.texts, more.wrapped.texts = slices.Clone(r.plain.texts), slices.Clone(r.wrapped.texts)
		*more.seeker = *r.seeker
		more.longest = r.longest
	}
	for _, s := range secrets {
		for _, p := range forms(s.Reveal()) {
			more.add(p)
		}
	}
	more.plain.index()
	more.wrapped.index()
	return more
}

func (r *Redactor) add(p pattern) {
	if len(p.text) < minLength {
		return
	}
	if p.wraps {
		r.wrapped.texts = append(r.wrapped.texts, p.text)
	} else {
		r.plain.texts = append(r.plain.texts, p.text)
	}
	r.seeker.add(p.text)
	r.longest = max(r.longest, len(p.text))
}

// forms returns the texts that reveal a secret. It leaves out escaped ones: the decoder undoes
// escapes while it reads a text.
func forms(value string) []pattern {
	if len(value) < minLength {
		return nil
	}
	var all []pattern
	for _, text := range []string{value, strings.TrimSpace(value)} {
		all = append(all, pattern{text: text})
		digits := hex.EncodeToString([]byte(text))
		all = append(append(all, wrapped(digits)...), wrapped(strings.ToUpper(digits))...)
		for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			whole := encoding.EncodeToString([]byte(text))
			all = append(append(all, wrapped(whole)...), wrapped(strings.TrimRight(whole, "="))...)
			for shift := range 3 {
				all = append(all, wrapped(inner(encoding, text, shift))...)
			}
		}
		if text == strings.TrimSpace(value) {
			break
		}
	}
	for line := range strings.SplitSeq(value, "\n") {
		if line = strings.TrimSpace(line); len(line) >= minLine && line != value {
			all = append(all, pattern{text: line})
		}
	}
	return all
}

// wrapped returns the patterns of a text that may be wrapped over lines. If a line ends with fewer
// than four bytes of it, only the bytes on the next lines are masked. Otherwise about every fourth
// line of a log would wait for the next one, in case a secret continues there.
func wrapped(text string) []pattern {
	all := []pattern{{text, true}}
	for n := 1; n < gramSize && n < len(text); n++ {
		all = append(all, pattern{text[n:], true})
	}
	return all
}

// inner returns the part of a base64 text that depends only on the value, if shift bytes (modulo 3)
// precede the value, as in user:password.
func inner(encoding *base64.Encoding, value string, shift int) string {
	if len(value) == 0 {
		return ""
	}
	text := encoding.EncodeToString(append(make([]byte, shift), value...))
	first := []int{0, 2, 3}[shift]
	return text[first : (shift+len(value))*8/6]
}

// Mask returns a text of the same length in which stars replace every secret. It returns p
// itself if p has no secret.
func (r *Redactor) Mask(p []byte) []byte {
	if r == nil || r.longest == 0 {
		return p
	}
	masked := p
	s := scanner{redactor: r, text: p, credit: maxCredit}
	s.run(true, func(from, to int) {
		if &masked[0] == &p[0] {
			masked = bytes.Clone(p)
		}
		cover(masked[from:to])
	})
	return masked
}

func cover(p []byte) {
	for i := range p {
		p[i] = star
	}
}
