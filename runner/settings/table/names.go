package table

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

// CheckNames returns an error if variables that begin with Prefix are no settings of the table. A
// misspelled setting would silently have no effect. The error suggests the nearest known name.
func (t Table[T]) CheckNames(given map[string]string) error {
	var names, unknown []string
	for _, s := range t.Settings() {
		names = append(names, s.Name)
	}
	for name := range given {
		if strings.HasPrefix(name, Prefix) && !slices.Contains(names, name) {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	for i, name := range unknown {
		if near := nearest(name, names); near != "" {
			unknown[i] = fmt.Sprintf("%s (did you mean %s?)", name, near)
		}
	}
	return fmt.Errorf("%s: this step has no such setting; remove it (`slipway runner --help` lists them)",
		strings.Join(unknown, ", "))
}

// nearest returns the known name that differs least from name, by up to one letter in four. It returns
// "" if every name differs more, and the first one if several differ equally.
func nearest(name string, known []string) string {
	word := strings.TrimPrefix(name, Prefix)
	near, least := "", max(len(word)/4, 1)+1
	for _, one := range known {
		distance := levenshtein.Distance(word, strings.TrimPrefix(one, Prefix), nil)
		if distance < least {
			near, least = one, distance
		}
	}
	return near
}
