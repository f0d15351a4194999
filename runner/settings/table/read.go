package table

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Report describes how a table was read.
type Report struct {
	// Origins maps each listed setting to the variable that its value came from, or to Default:
	// {"PLUGIN_TAGS": "PLUGIN_TAG", "PLUGIN_TARGET": "default"}.
	Origins map[string]string
	// Notes list the settings that are set but have no effect. Each is one line.
	Notes []string
}

// Read stores the values of the variables given in to. An empty variable counts as not set. The
// error names every invalid setting; the other settings are stored nevertheless.
func (t Table[T]) Read(given map[string]string, to *T) (Report, error) {
	report := Report{Origins: map[string]string{}}
	var errs []error
	for _, r := range t {
		text, from, err := r.lookup(given)
		if !r.Unlisted {
			r.recordOrigins(given, text, from, report.Origins)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		switch {
		case text == "" && r.Required != "":
			err = fmt.Errorf("%s is not set: %s", from, r.Required)
		case text != "" && r.Needs != "" && !t.isOn(given, r.Needs):
			report.Notes = append(
				report.Notes,
				fmt.Sprintf("%s is not used: %s is not %s", from, r.Needs, t.on(r.Needs)),
			)
			continue
		case text != "" && r.Conflicts != "" && t.isSet(given, r.Conflicts):
			err = fmt.Errorf("%s and %s are both set: set only one of them", from, r.Conflicts)
		case text == "":
			text = r.Default
		}
		if err == nil && text != "" && r.Set != nil {
			err = r.Set(to, from, text)
		}
		errs = append(errs, err)
	}
	report.Notes = append(report.Notes, t.noEffect(given)...)
	return report, errors.Join(errs...)
}

// lookup returns the setting's text and the variable that holds it. If none does, it returns an empty
// text, and the variable for the error: an empty variable if there is one, else Name.
func (r Row[T]) lookup(given map[string]string) (text, from string, err error) {
	from = r.Name
	for i, name := range r.names() {
		value, found := given[name]
		switch {
		case !found:
		case text == "":
			text, from = value, name
		case value != "" && value != text && i <= len(r.Aliases):
			return "", from, fmt.Errorf("%s and %s are one setting and have different values: remove one", from, name)
		}
	}
	return text, from, nil
}

// recordOrigins records the origins of the setting and of its aliases.
func (r Row[T]) recordOrigins(given map[string]string, text, from string, origins map[string]string) {
	origins[r.Name] = from
	if text == "" && given[from] == "" {
		origins[r.Name] = Default
	}
	for _, alias := range r.settings() {
		origins[alias] = alias
		if given[alias] == "" {
			origins[alias] = Default
		}
	}
}

// isSet reports whether a variable of the setting name is set.
func (t Table[T]) isSet(given map[string]string, name string) bool {
	return t.text(given, name) != ""
}

// isOn reports whether the setting name is set, and not to false.
func (t Table[T]) isOn(given map[string]string, name string) bool {
	text := t.text(given, name)
	return text != "" && !isFalse(text)
}

// on returns the word for a setting that is on: "true" if it has a default, else "set".
func (t Table[T]) on(name string) string {
	i := slices.IndexFunc(t, func(r Row[T]) bool { return r.Name == name })
	if i >= 0 && t[i].Default == "" {
		return "set"
	}
	return "true"
}

// text returns the text of the setting name.
func (t Table[T]) text(given map[string]string, name string) string {
	i := slices.IndexFunc(t, func(r Row[T]) bool { return r.Name == name })
	if i < 0 {
		return ""
	}
	text, _, _ := t[i].lookup(given)
	return text
}

// noEffect returns a note for each reason of settings without effect, with the names of the settings that are
// set. A false setting has no effect, so the note leaves it out.
func (t Table[T]) noEffect(given map[string]string) []string {
	var reasons []string
	names := map[string][]string{}
	for _, r := range t {
		if text := given[r.Name]; r.NoEffect == "" || text == "" || isFalse(text) {
			continue
		}
		if names[r.NoEffect] == nil {
			reasons = append(reasons, r.NoEffect)
		}
		names[r.NoEffect] = append(names[r.NoEffect], r.Name)
	}
	notes := make([]string, len(reasons))
	for i, reason := range reasons {
		verb := "has"
		if len(names[reason]) > 1 {
			verb = "have"
		}
		notes[i] = fmt.Sprintf("%s %s no effect: %s", strings.Join(names[reason], ", "), verb, reason)
	}
	return notes
}

// RemoveSecrets calls unset with each variable of a secret setting that is given, so that no child
// process inherits it.
func (t Table[T]) RemoveSecrets(given map[string]string, unset func(name string) error) error {
	for _, r := range t {
		if !r.Secret {
			continue
		}
		names := r.names()
		if r.KeepEnv {
			names = names[:len(names)-len(r.Env)]
		}
		for _, name := range names {
			if _, found := given[name]; !found {
				continue
			}
			if err := unset(name); err != nil {
				return fmt.Errorf("remove %s from the environment: %w", name, err)
			}
		}
	}
	return nil
}
