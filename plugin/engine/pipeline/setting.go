package pipeline

import (
	"strings"

	"slipway/config/secret"
)

// A Setting is a line of the environment of a CI's server or runners.
type Setting struct {
	Name   string
	Value  string
	Secret secret.Secret // in place of Value
	Why    string        // for people; begins with "optional" where builds run without it
}

// An Environment is what one of a CI's programs needs in its environment.
type Environment struct {
	Of       string // as "the Drone server"
	Settings []Setting
}

// Reveal returns the lines to copy, secrets included, each after its reason. Programs read
// files of this form: a line that begins with # is none of theirs.
func (e Environment) Reveal() string {
	var lines strings.Builder
	for _, s := range e.Settings {
		value := s.Value
		if !s.Secret.IsZero() {
			value = s.Secret.Reveal()
		}
		lines.WriteString("# " + s.Why + "\n" + s.Name + "=" + value + "\n")
	}
	return lines.String()
}
