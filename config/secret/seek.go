package secret

import "strings"

// A seeker finds the places of a text where a pattern may begin. It looks at the last two of four bytes
// and jumps over bytes with which no pattern begins. It may stop where no pattern begins.
// Source: Wu and Manber, "A fast algorithm for multi-pattern searching", 1994
type seeker struct {
	blocks [1 << 16]block        // indexed by two bytes of text
	grams  [1 << (16 - 6)]uint64 // a Bloom filter of the first four bytes of patterns
	// first holds the bytes with which a pattern begins, introducer the bytes that may stand for
	// another byte or for none.
	first, introducer [256]bool
}

// A block holds, for two bytes, how far a reader may jump (0 to 2) and their possible roles. A jump
// of 3 would pass over an escape.
type block uint8

const (
	jump   block = 3      // mask of the jump's bits
	escape block = 1 << 6 // one of them may stand for another byte, or for none
	starts block = 1 << 7 // a pattern begins with them
)

func newSeeker() *seeker {
	s := &seeker{}
	for i := range s.blocks {
		s.blocks[i] = gramSize - 2
	}
	for _, c := range []byte{'%', '\\', '&', '\'', '\r', '\n', esc} {
		s.introduce(c)
	}
	return s
}

func (s *seeker) introduce(c byte) {
	s.introducer[c] = true
	for other := range 256 {
		s.blocks[int(c)<<8|other] = s.blocks[int(c)<<8|other]&starts | escape
		s.blocks[other<<8|int(c)] = s.blocks[other<<8|int(c)]&starts | escape
	}
}

// add makes find stop at a text of at least gramSize bytes.
func (s *seeker) add(text string) {
	s.first[text[0]] = true
	if strings.Contains(text, " ") && !s.introducer['+'] {
		s.introduce('+') // a blank in the body of an HTML form
	}
	shift := block(gramSize - 2)
	for i := range gramSize - 1 {
		at := int(text[i])<<8 | int(text[i+1])
		s.blocks[at] = s.blocks[at]&^jump | min(s.blocks[at]&jump, shift)
		shift--
	}
	s.blocks[int(text[0])<<8|int(text[1])] |= starts
	slot := slotOf(gramOf(text))
	s.grams[slot/64] |= 1 << (slot % 64)
}

func gramOf[T string | []byte](text T) uint32 {
	return uint32(text[0])<<24 | uint32(text[1])<<16 | uint32(text[2])<<8 | uint32(text[3])
}

// slotOf spreads grams over the filter (Fibonacci hashing).
func slotOf(gram uint32) uint32 { return gram * 2654435769 >> 16 }

// find returns the first place where a pattern may begin, or the length of the text.
func (s *seeker) find(text []byte) int {
	escaped := -1 // the last byte read that may be an escape
	i := 0
	if len(text) >= gramSize {
		escaped = s.lastEscape(text, 0)
	}
	for i+gramSize <= len(text) {
		b := s.blocks[int(text[i+2])<<8|int(text[i+3])]
		if b&escape != 0 {
			escaped = s.lastEscape(text, i)
		}
		if i <= escaped {
			if s.plausible(text[i:]) {
				return i
			}
			i++
			continue
		}
		if b&jump != 0 {
			i += int(b & jump)
			continue
		}
		slot := slotOf(gramOf(text[i:]))
		if s.grams[slot/64]>>(slot%64)&1 != 0 {
			return i
		}
		i++
	}
	for ; i < len(text); i++ {
		if s.first[text[i]] || s.introducer[text[i]] {
			return i
		}
	}
	return len(text)
}

// lastEscape returns the place of the last introducer among four bytes, or -1.
func (s *seeker) lastEscape(text []byte, from int) int {
	for i := from + gramSize - 1; i >= from; i-- {
		if s.introducer[text[i]] {
			return i
		}
	}
	return -1
}

// plausible reports whether a form of a pattern may begin with a text of at least gramSize bytes. It
// decodes only the most common escapes, those in every line of a JSON log.
func (s *seeker) plausible(text []byte) bool {
	c, next := text[0], text[1]
	switch {
	case c == '\r' || c == '\n' || c == esc:
		return s.first[c]
	case s.introducer[c]:
		decoded := escapedBy(c, next)
		return decoded == 0 || s.first[decoded] || s.first[c]
	case !s.first[c]:
		return false
	case !s.introducer[next]:
		return s.pair(c, next)
	}
	decoded := escapedBy(next, text[2])
	return decoded == 0 || s.pair(c, decoded) || s.pair(c, next)
}

func (s *seeker) pair(c, next byte) bool { return s.blocks[int(c)<<8|int(next)]&starts != 0 }

// escapedBy returns the byte that a backslash and another byte stand for, 0 if they may stand for
// something else.
func escapedBy(c, next byte) byte {
	if c != '\\' || isAlnum(next) {
		return 0
	}
	return next
}
