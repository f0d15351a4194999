package rekey

import (
	"strings"
	"testing"

	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

func TestDecide(t *testing.T) {
	keys := func(ids ...byte) (all []seal.KeyID) {
		for _, id := range ids {
			all = append(all, seal.KeyID{ID: id})
		}
		return all
	}
	for _, c := range []struct {
		name   string
		keys   []seal.KeyID
		newest byte
		check  store.SealCheck
		want   step
		note   string
	}{
		{"one key", keys(1), 1, store.SealCheck{Key: 1, Values: map[byte]int{1: 5}}, makeKey, "the only one"},
		{"a new key", keys(1, 2), 2, store.SealCheck{Key: 1, Values: map[byte]int{1: 5}}, resume, "the newest key"},
		{"half", keys(1, 2), 2, store.SealCheck{Key: 2, Values: map[byte]int{1: 3, 2: 2}}, resume, "3 values"},
		{"all", keys(1, 2), 2, store.SealCheck{Key: 2, Values: map[byte]int{2: 5}}, finished, "key 1 is still in the file"},
		{"a lost key", keys(2), 2, store.SealCheck{Key: 2, Values: map[byte]int{1: 3, 2: 2}}, resume, "3 values"},
	} {
		got, note := decide(c.keys, c.newest, c.check)
		if got != c.want {
			t.Errorf("%s: step: got %v, want %v", c.name, got, c.want)
		}
		if !strings.Contains(note, c.note) {
			t.Errorf("%s: note: got %q, want %q", c.name, note, c.note)
		}
	}
}
