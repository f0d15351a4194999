package settings

import (
	"slices"
	"strings"

	"slipway/config"
	"slipway/config/secret"
)

// A Shown is a setting as a log may show it.
type Shown struct{ Name, Value, Origin string }

// hidden are parts of the names of settings whose values may hold secrets, though none should.
var hidden = []string{"BUILD_ARGS", "SECRET", "SSH", "LOGINS", "CONFIG", "PROXY"}

// maxShown bounds a value that is shown, in bytes.
const maxShown = 200

// Shown lists the settings that have a value, in the order of --help.
func (p Plugin) Shown() []Shown { return slices.Clone(p.shown) }

// show notes the values as they were given; origins has the variables that they came from.
func (p *Plugin) show(given map[string]string) {
	for _, s := range config.PluginSettings() {
		one := Shown{Name: s.Name, Value: s.Default, Origin: p.Origins[s.Name]}
		if one.Origin != Default {
			one.Value = given[one.Origin]
		}
		switch {
		case one.Value == "":
			continue
		case one.Origin == Default:
		case s.Secret || slices.ContainsFunc(hidden, func(part string) bool { return strings.Contains(s.Name, part) }):
			one.Value = secret.Mask
		case len(one.Value) > maxShown:
			one.Value = strings.ToValidUTF8(one.Value[:maxShown], "") + "…"
		}
		p.shown = append(p.shown, one)
	}
}
