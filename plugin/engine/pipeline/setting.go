package pipeline

import (
	"strings"

	"slipway/config/secret"
)

// A Setting is an environment variable of a CI's server or runners.
type Setting struct {
	Name   string
	Value  string
	Secret secret.Secret // used instead of Value if it is set
	Why    string        // explanation; begins with "optional" if builds run without the setting
}

// An Environment is the list of settings for one of a CI's programs.
type Environment struct {
	Of       string // the program, e.g. "the Drone server"
	Settings []Setting
}

// Reveal returns the settings as an environment file, secrets included. The line before each
// setting is a comment with its explanation. CI programs ignore lines that begin with #.
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
