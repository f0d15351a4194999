package disk

import "testing"

const gibi = 1 << 30

// The free space is protected for all programs. A directory that does not grow is not the cause.
func TestAWatchEndsTheProgramsThatUseTheReserve(t *testing.T) {
	w := Watch{Limit: 10 * gibi, Reserve: gibi}
	grown := func(bytes, files int64) growth {
		return growth{first: Amount{5, 5}, last: Amount{5 + bytes, 5 + files}, known: true}
	}
	room := Usage{Bytes: 100 * gibi, FreeBytes: 50 * gibi, Inodes: 1000, FreeInodes: 500}
	with := func(change func(*Usage)) Usage {
		u := room
		change(&u)
		return u
	}
	for name, c := range map[string]struct {
		usage  Usage
		growth growth
		over   string // "" = none
		unsure bool
	}{
		"room": {room, grown(20*gibi, 500), "", false},
		"a program of another directory": {
			with(func(u *Usage) { u.FreeBytes = gibi - 1 }), grown(gibi/8-1, 1000), "", true,
		},
		"a program of this directory": {
			with(func(u *Usage) { u.FreeBytes = gibi - 1 }), grown(gibi/8, 0),
			"full: the machine has less than 1.074 GB of free space: SETTING", false,
		},
		"a fast program": {
			with(func(u *Usage) { u.FreeBytes = gibi/2 - 1 }), growth{},
			"full: the machine has less than 1.074 GB of free space: SETTING", false,
		},
		"files of another directory": {with(func(u *Usage) { u.FreeInodes = 49 }), grown(gibi, 5), "", true},
		"files of this directory": {
			with(func(u *Usage) { u.FreeInodes = 49 }), grown(0, 6), "full: the machine has too few free inodes: SETTING", false,
		},
		"no number of inodes": {with(func(u *Usage) { u.Inodes, u.FreeInodes = 0, 0 }), grown(0, 6), "", false},
	} {
		over, unsure := w.overReserve(c.usage, c.growth)
		got := ""
		if over != nil {
			got = over.Reason("full", "SETTING")
		}
		if got != c.over {
			t.Errorf("%s: reason: got %q, want %q", name, got, c.over)
		}
		if unsure != c.unsure {
			t.Errorf("%s: unsure: got %t, want %t", name, unsure, c.unsure)
		}
	}
}

func TestAWatchLimitsTheDirectory(t *testing.T) {
	w := Watch{Limit: gibi}
	for name, c := range map[string]struct {
		amount Amount
		want   string // "" = below the limit
	}{
		"at the limit":   {Amount{gibi, 65536}, ""},
		"too many bytes": {Amount{gibi + 1, 0}, "full, limit 1.074 GB: SETTING"},
		"too many files": {Amount{0, 65537}, "full: it has more than 65536 files: SETTING"},
	} {
		over, got := w.overLimit(c.amount), ""
		if over != nil {
			got = over.Reason("full", "SETTING")
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
