package secret

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
)

// minLength is what a secret must have to be masked: shorter ones would mask half the text.
const minLength = 4

// minLine is the same for the lines of a secret of several lines, which a log shows one by one.
const minLine = 8

// star is what each byte of a masked secret becomes.
const star = '*'

// A Redactor masks secrets in text, in the forms in which they leak: as they are, line by
// line, in base64 at any alignment, and URL-encoded. It keeps every length, so that offsets
// stay what they were. It is immutable and safe for concurrent use; the nil Redactor masks
// nothing.
type Redactor struct {
	needles [256][]string // by first byte
	longest int
}

// NewRedactor makes a Redactor; secrets shorter than 4 characters are left out.
func NewRedactor(secrets ...Secret) *Redactor {
	return (*Redactor)(nil).With(secrets...)
}

// With returns a Redactor that masks these secrets, too.
func (r *Redactor) With(secrets ...Secret) *Redactor {
	more := &Redactor{}
	if r != nil {
		more.longest = r.longest
		for i, needles := range r.needles {
			more.needles[i] = slices.Clip(needles) // add must not write into r's
		}
	}
	for _, s := range secrets {
		for _, form := range forms(s.Reveal()) {
			more.add(form)
		}
	}
	return more
}

func (r *Redactor) add(form string) {
	if len(form) < minLength || slices.Contains(r.needles[form[0]], form) {
		return
	}
	r.needles[form[0]] = append(r.needles[form[0]], form)
	r.longest = max(r.longest, len(form))
}

// forms returns the texts that give a secret away.
func forms(value string) []string {
	if len(value) < minLength {
		return nil
	}
	all := []string{value, url.QueryEscape(value), url.PathEscape(value)}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		all = append(all, encoding.EncodeToString([]byte(value)))
		for shift := range 3 {
			all = append(all, inner(encoding, value, shift))
		}
	}
	for line := range strings.SplitSeq(value, "\n") {
		if line = strings.TrimSpace(line); len(line) >= minLine && line != value {
			all = append(all, line)
		}
	}
	return all
}

// inner is the part of a base64 text that depends on the value alone, where it stands
// after 3n+shift other bytes: a password in user:password is encoded like that.
func inner(encoding *base64.Encoding, value string, shift int) string {
	text := encoding.EncodeToString(append(make([]byte, shift), value...))
	first := []int{0, 2, 3}[shift]
	return text[first : (shift+len(value))*8/6]
}

// Mask returns text of the same length with every secret in it turned to stars. It returns
// p itself when there is none.
func (r *Redactor) Mask(p []byte) []byte {
	masked := p
	r.each(p, func(from, to int) {
		if len(masked) > 0 && &masked[0] == &p[0] {
			masked = bytes.Clone(p)
		}
		cover(masked[from:to])
	})
	return masked
}

// each calls found with every place of a secret in text; places may overlap.
func (r *Redactor) each(text []byte, found func(from, to int)) {
	if r == nil || r.longest == 0 {
		return
	}
	for i, c := range text {
		for _, needle := range r.needles[c] {
			if len(text)-i >= len(needle) && string(text[i:i+len(needle)]) == needle {
				found(i, i+len(needle))
			}
		}
	}
}

// begun returns how many bytes at the end of text may be the beginning of a secret.
func (r *Redactor) begun(text []byte) int {
	for i := max(0, len(text)-r.longest+1); i < len(text); i++ {
		for _, needle := range r.needles[text[i]] {
			if rest := len(text) - i; rest < len(needle) && needle[:rest] == string(text[i:]) {
				return rest
			}
		}
	}
	return 0
}

func cover(p []byte) {
	for i := range p {
		p[i] = star
	}
}
