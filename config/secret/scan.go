package secret

import (
	"slices"
	"sort"
)

const (
	// maxSkip bounds the bytes that a reading skips between two bytes of a secret.
	maxSkip = 256
	// A walk costs one credit a token; each byte of the text earns creditPerByte, up to maxCredit.
	// Without it, a text that repeats the beginning of a long secret would cost the square of its
	// length.
	creditPerByte = 8
	maxCredit     = 1 << 18
	// maxThreads bounds the readings that a walk follows at once.
	maxThreads = 64
	// maxForm bounds the bytes of a text that stand for one byte of a secret.
	maxForm = len("&;") + maxName + maxSkip
)

// A scanner finds secrets in a text that may still grow. It takes each place of the text in turn
// and walks from there along the patterns that may begin there. It follows all readings of an escape
// at once, so it finds a secret after any text. The result does not depend on where the text was cut.
type scanner struct {
	redactor *Redactor
	text     []byte
	next     int      // the first place without a finished walk
	threads  []thread // threads of the walk from next, sorted by pos; empty = the walk did not begin
	best     int      // end of the longest secret that the walk found
	gaveUp   bool     // the walk was too long
	covered  int      // all text before this place is masked; it may be beyond the end of the text
	tokens   []token  // buffer
	credit   int
}

// A thread is one reading of the text from the beginning of a walk. It follows all patterns that
// begin with the bytes it matched, so many secrets with the same start are one thread.
type thread struct {
	pos     int  // the byte to read next
	off     int  // matched bytes
	wraps   bool // the patterns may be wrapped over lines
	from    int  // the patterns, as a range of the redactor's; empty at the beginning of the walk
	to      int
	skipped int // bytes skipped since the last matched one
}

// run calls found with the ranges to mask, in order and each byte once. It stops at the end of the
// text or, unless the text is final, if the next step depends on bytes that follow. If covered is
// beyond the text then, the caller masks the following bytes up to there.
func (s *scanner) run(final bool, found func(from, to int)) {
	for {
		if len(s.threads) == 0 {
			if !s.seek() {
				return
			}
			s.threads, s.best = append(s.threads, thread{pos: s.next}), 0
			s.gaveUp = false
		}
		if !s.walk(final) {
			return
		}
		step := 1
		if s.best > s.next {
			end := s.best
			if s.gaveUp { // mask twice the longest form: a secret that begins in the first half ends in the second
				most := s.redactor.longest * maxForm
				step = s.best + most - s.next
				end += 2 * most
			}
			if from, to := max(s.next, s.covered), min(end, len(s.text)); from < to {
				found(from, to)
			}
			s.covered = max(s.covered, end)
		}
		s.advance(step)
	}
}

func (s *scanner) patterns(wraps bool) *patterns {
	if wraps {
		return &s.redactor.wrapped
	}
	return &s.redactor.plain
}

func (s *scanner) advance(n int) {
	s.next += n
	s.credit = min(s.credit+n*creditPerByte, maxCredit)
}

// seek moves next to a place where a secret may begin. It returns false at the end of the text.
func (s *scanner) seek() bool {
	if s.next >= len(s.text) {
		return false
	}
	n := s.redactor.seeker.find(s.text[s.next:])
	s.advance(n)
	return s.next < len(s.text)
}

// walk follows the threads. It returns false if one of them needs more text.
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
		d := decoder{text: s.text[t.pos:], skips: t.off > 0, wraps: t.wraps && t.off >= gramSize}
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

// stride moves a single thread over bytes that need no decoding and that all its patterns share.
func (s *scanner) stride() {
	if len(s.threads) != 1 || s.threads[0].off < gramSize {
		return
	}
	t := &s.threads[0]
	texts := s.patterns(t.wraps).texts
	first, last := texts[t.from][t.off:], texts[t.to-1][t.off:] // sorted: the texts between share their common prefix
	text := s.text[t.pos:]
	n, limit := 0, min(len(first), len(last), len(text), s.credit)
	for n < limit && first[n] == text[n] && last[n] == text[n] && !s.redactor.seeker.introducer[text[n]] {
		n++
	}
	if n == 0 {
		return
	}
	t.off, t.pos, t.skipped = t.off+n, t.pos+n, 0
	s.credit -= n
	if !s.complete(t) {
		s.threads = s.threads[:0]
	}
}

// complete records a complete match of a pattern. It returns false if the thread has no other pattern.
func (s *scanner) complete(t *thread) bool {
	if len(s.patterns(t.wraps).texts[t.from]) == t.off { // the shortest of the patterns with this start is the first
		s.best = max(s.best, t.pos)
		t.from++
	}
	return t.from < t.to
}

// giveUp ends a walk that takes too long. A secret of which some bytes matched counts as found. An
// attacker can write such a text, so masking too much is better than too little.
func (s *scanner) giveUp() {
	s.gaveUp = true
	for _, t := range s.threads {
		if t.off >= gramSize {
			s.best = max(s.best, t.pos)
		}
	}
	s.threads = s.threads[:0]
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
	if t.off == 0 {
		t.wraps = true
		s.match(t, k.bytes[:k.n])
	}
}

// match moves a thread over decoded bytes, and drops it if no pattern is left.
func (s *scanner) match(t thread, decoded []byte) {
	all := s.patterns(t.wraps)
	for _, c := range decoded {
		if t.off == 0 {
			t.from, t.to = all.first[c], all.first[int(c)+1]
		} else {
			texts := all.texts[t.from:t.to]
			from := sort.Search(len(texts), func(i int) bool { return texts[i][t.off] >= c })
			to := from + sort.Search(len(texts)-from, func(i int) bool { return texts[from+i][t.off] > c })
			t.from, t.to = t.from+from, t.from+to
		}
		t.off++
		if t.from == t.to || !s.complete(&t) {
			return
		}
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
	s.covered = max(0, s.covered-n)
	for i := range s.threads {
		s.threads[i].pos -= n
	}
}
