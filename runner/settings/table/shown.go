package table

import (
	"strings"

	"slipway/config/secret"
)

// A Shown is a setting in the form in which a log may show it.
type Shown struct{ Name, Value, Origin string }

// maxShown is the maximum length of a value that is shown, in bytes.
const maxShown = 200

// Shown lists the settings that have a value, in the order of the table. origins are those of a
// Report. Values that hold or may hold a secret are masked, and long values are cut.
func (t Table[T]) Shown(given, origins map[string]string) []Shown {
	var all []Shown
	for _, r := range t {
		if r.Unlisted {
			continue
		}
		for i, name := range append([]string{r.Name}, r.settings()...) {
			one := Shown{Name: name, Origin: origins[name]}
			switch {
			case one.Origin != Default:
				one.Value = r.show(given[one.Origin])
			case i == 0:
				one.Value = r.Default
			}
			if one.Value != "" {
				all = append(all, one)
			}
		}
	}
	return all
}

// show returns the text of the setting as a log may show it.
func (r Row[T]) show(text string) string {
	switch {
	case text == "":
		return ""
	case r.Secret || r.Masked:
		return secret.Mask
	case len(text) > maxShown:
		return strings.ToValidUTF8(text[:maxShown], "") + "…"
	}
	return text
}
