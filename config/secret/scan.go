package secret

import "slices"

const (
	// maxSkip bounds the bytes that a reading skips between two bytes of a secret.
	maxSkip = 256
	// A walk costs one credit a token; each byte of the text earns creditPerByte, up to maxCredit.
	// Text that repeats the beginning of a long secret over and over would else cost the square
	// of its length.
	creditPerByte = 8
	maxCredit     = 1 << 18
	// maxThreads bounds the readings that are followed at once.
	maxThreads = 64
)

// A scanner finds secrets in a text that may still grow. It takes each place of the text in turn
// and walks from there along the patterns that may begin there. All readings of an escape are
// followed at once, so that a secret is found whatever stands before it. What it finds does not
// depend on where the text was cut.
type scanner struct {
	redactor *Redactor
	text     []byte
	next     int      // the first place from which no walk was ended yet
	threads  []thread // of the walk from next, by pos; empty = it did not begin
	best     int      // where the longest secret ends that the walk found
	gaveUp   bool     // the walk was too long
	tokens   []token  // buffer
	credit   int
}

// A thread is one reading of the text from the beginning of a walk.
type thread struct {
	pos     int    // the byte to read next
	off     int    // matched bytes
	pattern int32  // an index; -1 while fewer than gramSize bytes are matched
	gram    uint32 // the matched bytes, while pattern is -1
	skipped int    // bytes skipped since the last matched one
}

// run calls found with each secret, by rising from, until the text ends or, unless it is final,
// until the next step depends on what follows. Secrets may overlap. A secret may end beyond the
// text if the scanner gave up on it.
func (s *scanner) run(final bool, found func(from, to int)) {
	for {
		if len(s.threads) == 0 {
			if !s.seek() {
				return
			}
			s.threads, s.best = append(s.threads, thread{pos: s.next, pattern: -1}), 0
			s.gaveUp = false
		}
		if !s.walk(final) {
			return
		}
		step := 1
		switch {
		case s.best <= s.next:
		case s.gaveUp: // no walk begins within what is masked, so mask what it could have found
			found(s.next, s.best+s.redactor.longest)
			step = s.best - s.next
		default:
			found(s.next, s.best)
		}
		s.advance(step)
	}
}

func (s *scanner) advance(n int) {
	s.next += n
	s.credit = min(s.credit+n*creditPerByte, maxCredit)
}

// seek moves next to a place where a secret may begin; false at the end of the text.
func (s *scanner) seek() bool {
	if s.next >= len(s.text) {
		return false
	}
	n := s.redactor.seeker.find(s.text[s.next:])
	s.advance(n)
	return s.next < len(s.text)
}

// walk follows the threads; false if one of them needs more text.
func (s *scanner) walk(final bool) bool {
	for len(s.threads) > 0 {
		s.stride()
		if s.credit <= 0 || len(s.threads) > maxThreads {
			s.giveUp()
			return true
		}
		if len(s.threads) == 0 {
			return true
		}
		t := s.threads[0]
		if t.pos >= len(s.text) {
			if !final {
				return false
			}
			s.threads = s.threads[:0]
			return true
		}
		d := decoder{text: s.text[t.pos:], skips: t.off > 0, wraps: s.wraps(t)}
		s.tokens = d.decode(s.tokens[:0])
		if d.short && !final {
			return false
		}
		s.credit--
		s.threads = slices.Delete(s.threads, 0, 1)
		for i := range s.tokens {
			s.follow(t, &s.tokens[i])
		}
	}
	return true
}

// stride moves a single thread over what needs no decoding.
func (s *scanner) stride() {
	if len(s.threads) != 1 || s.threads[0].pattern < 0 {
		return
	}
	t := &s.threads[0]
	rest, text := s.redactor.patterns[t.pattern].text[t.off:], s.text[t.pos:]
	n, limit := 0, min(len(rest), len(text), s.credit)
	for n < limit && rest[n] == text[n] && !s.redactor.seeker.introducer[text[n]] {
		n++
	}
	if n == 0 {
		return
	}
	t.off, t.pos, t.skipped = t.off+n, t.pos+n, 0
	s.credit -= n
	if n == len(rest) {
		s.best = max(s.best, t.pos)
		s.threads = s.threads[:0]
	}
}

// giveUp ends a walk that takes too long. A secret that was matched for some bytes counts as found
// whole: it is better to mask too much of a text that is made to take long.
func (s *scanner) giveUp() {
	s.gaveUp = true
	for _, t := range s.threads {
		if t.pattern >= 0 {
			s.best = max(s.best, t.pos+len(s.redactor.patterns[t.pattern].text)-t.off)
		}
	}
	s.threads = s.threads[:0]
}

// wraps reports whether a line break may follow.
func (s *scanner) wraps(t thread) bool {
	return t.pattern >= 0 && s.redactor.patterns[t.pattern].wraps
}

// follow moves a thread over a token, if the token fits.
func (s *scanner) follow(t thread, k *token) {
	t.pos += k.size
	if k.n == 0 {
		t.skipped += k.size
		if t.skipped <= maxSkip {
			s.add(t)
		}
		return
	}
	t.skipped = 0
	s.match(t, k.bytes[:k.n])
}

// match moves a thread over decoded bytes.
func (s *scanner) match(t thread, decoded []byte) {
	r := s.redactor
	for t.pattern < 0 {
		if len(decoded) == 0 {
			s.add(t)
			return
		}
		t.gram, t.off = t.gram<<8|uint32(decoded[0]), t.off+1
		decoded = decoded[1:]
		if t.off < gramSize {
			if !r.begins[prefix{t.gram, t.off}] {
				return
			}
			continue
		}
		for _, i := range r.byGram[t.gram] {
			one := t
			one.pattern, one.gram = i, 0
			s.match(one, decoded)
		}
		return
	}
	rest := r.patterns[t.pattern].text[t.off:]
	n := min(len(rest), len(decoded))
	if rest[:n] != string(decoded[:n]) {
		return
	}
	t.off += n
	if n == len(rest) {
		s.best = max(s.best, t.pos)
		return
	}
	s.add(t)
}

// add inserts a thread by its place, once.
func (s *scanner) add(t thread) {
	i := len(s.threads)
	for ; i > 0 && s.threads[i-1].pos >= t.pos; i-- {
		if s.threads[i-1] == t {
			return
		}
	}
	s.threads = slices.Insert(s.threads, i, t)
}

// drop forgets the first n bytes of the text, which must lie before next.
func (s *scanner) drop(n int) {
	s.text = append(s.text[:0], s.text[n:]...)
	s.next -= n
	s.best -= n
	for i := range s.threads {
		s.threads[i].pos -= n
	}
}
