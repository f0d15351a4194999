package settings

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"

	"slipway/config"
)

// checkKnown refuses settings that nobody would act on: what they were to change, as
// which tags move, would silently not be so. It names what was probably meant.
func checkKnown(given map[string]string, settings []config.Setting) error {
	var names, unknown []string
	for _, s := range settings {
		names = append(names, s.Name)
	}
	for name := range given {
		if strings.HasPrefix(name, pluginPrefix) && !slices.Contains(names, name) {
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
	return fmt.Errorf(
		"%s: this step has no such setting; remove it (`slipway runner --help` lists them)",
		strings.Join(unknown, ", "),
	)
}

// nearest is the known name that a typing error makes of name; empty = none is near. Up to
// one letter in four may be wrong, and the first of several that are as near is taken.
func nearest(name string, known []string) (near string) {
	word := func(name string) string { return strings.TrimPrefix(name, pluginPrefix) }
	least := max(len(word(name))/4, 1) + 1
	for _, one := range known {
		if distance := levenshtein.Distance(word(name), word(one), nil); distance < least {
			near, least = one, distance
		}
	}
	return near
}
