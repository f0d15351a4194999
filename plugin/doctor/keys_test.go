package doctor

import (
	"errors"
	"strings"
	"testing"

	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

func TestJudgeKeys(t *testing.T) {
	one, two := []seal.KeyID{{ID: 1}}, []seal.KeyID{{ID: 1}, {ID: 2}}
	broken := []store.BrokenValue{{Err: errors.New("open hooks/secret/a: key 1")}}
	for _, c := range []struct {
		name   string
		keys   []seal.KeyID
		newest byte
		check  store.SealCheck
		want   string
	}{
		{"one key", one, 1, store.SealCheck{Key: 1, Values: map[byte]int{1: 5}}, "✓ keys         all 5 stored secrets open with key 1"},
		{"old keys", two, 2, store.SealCheck{Key: 2, Values: map[byte]int{2: 5}}, "slipway rekey --remove-old-keys"},
		{"half", two, 2, store.SealCheck{Key: 2, Values: map[byte]int{1: 3}}, "✕ keys         3 stored secrets are sealed with an older key"},
		{"not in use", two, 2, store.SealCheck{Key: 1}, "✕ keys         the newest key of the file is key 2"},
		{"broken", one, 1, store.SealCheck{Key: 1, Broken: broken}, "✕ keys         stored secrets that do not open: 1, e.g. open hooks/secret/a"},
	} {
		if got := judgeKeys(c.keys, c.newest, c.check).String(); !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
