package settings

import (
	"fmt"
	"strings"
)

// underscored is an environment whose settings have _ in their names where a pipeline has -,
// as auto-tag: Woodpecker hands over PLUGIN_AUTO_TAG then, and Drone PLUGIN_AUTO-TAG.
type underscored struct{ Environment }

var _ Environment = underscored{}

// Environ has each setting by its name with _.
func (u underscored) Environ() []string {
	lines := u.Environment.Environ()
	all := make([]string, len(lines))
	for i, line := range lines {
		name, value, _ := strings.Cut(line, "=")
		all[i] = withUnderscores(name) + "=" + value
	}
	return all
}

// Unsetenv removes the setting by each of the names that it came by.
func (u underscored) Unsetenv(name string) error {
	for _, line := range u.Environment.Environ() {
		given, _, _ := strings.Cut(line, "=")
		if withUnderscores(given) != name {
			continue
		}
		if err := u.Environment.Unsetenv(given); err != nil {
			return err
		}
	}
	return nil
}

func withUnderscores(name string) string {
	if strings.HasPrefix(name, pluginPrefix) {
		return strings.ReplaceAll(name, "-", "_")
	}
	return name
}

// oneOf is the value of a setting that has several names, and the name that it came by, or
// Default. Two that differ are refused, for each plugin takes another of them.
func oneOf(given map[string]string, otherwise string, names ...string) (value, origin string, err error) {
	value, origin = first(given, otherwise, names...)
	for _, name := range names {
		if other, ok := given[name]; ok && other != value {
			return "", origin, fmt.Errorf("%s and %s differ, and are one setting: remove one", origin, name)
		}
	}
	return value, origin, nil
}
