// Package webhooktest changes payloads, for tests of what reads them.
package webhooktest

import (
	"maps"
	"slices"
)

// Mutate calls try with every single place of a decoded JSON document deleted, made null and
// given every other type, one at a time; v is as before when it returns. enter is asked whether
// to change what is below a place, which is named like .push.changes[].new; nil = always.
func Mutate(v any, enter func(place string) bool, try func()) {
	if enter == nil {
		enter = func(string) bool { return true }
	}
	mutate(v, "", enter, try)
}

func mutate(v any, place string, enter func(string) bool, try func()) {
	if !enter(place) {
		return
	}
	wrong := []any{nil, true, "", -1.5, []any{nil}, map[string]any{}}
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			kept := v[key]
			delete(v, key)
			try()
			for _, w := range wrong {
				v[key] = w
				try()
			}
			v[key] = kept
			mutate(kept, place+"."+key, enter, try)
		}
	case []any:
		for i, kept := range v {
			for _, w := range wrong {
				v[i] = w
				try()
			}
			v[i] = kept
			mutate(kept, place+"[]", enter, try)
		}
	}
}
