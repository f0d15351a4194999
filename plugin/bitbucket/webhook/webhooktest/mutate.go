// Package webhooktest changes payloads for tests of parsers.
package webhooktest

import (
	"maps"
	"slices"
)

// Mutate changes one value of a decoded JSON document at a time. It deletes the value, sets it to
// null, and replaces it by each other type. It calls try after each change. When it returns, v is
// unchanged. Mutate skips the children of a place for which enter returns false; nil = never. A
// place has the form .push.changes[].new.
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
