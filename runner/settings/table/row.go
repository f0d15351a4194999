// Package table reads settings from environment variables. A table declares each setting once, as a row:
// its names, default, help and dependencies, and the setter that parses and stores its value.
//
// The rows define:
//
//   - the help and the reference pages;
//   - the check for unknown names;
//   - the removal of secrets from the environment;
//   - the list of values in a log.
package table

import (
	"slices"
	"strings"

	"slipway/config"
)

// Prefix begins the variables that a CI makes of a step's settings: setting repo is PLUGIN_REPO.
const Prefix = "PLUGIN_"

// Default is the origin of a value that no variable set.
const Default = "default"

// A Row declares one setting whose value is stored in a T. Only Name and Help are required.
type Row[T any] struct {
	Name    string   // environment variable: "PLUGIN_TAGS"
	Aliases []string // other variables of the same setting; if several are set, their values must be equal
	Env     []string // variables to read, in this order, if Name and Aliases are not set: "DOCKER_USERNAME"

	Default string // text to parse if no variable is set
	Unset   string // effect, in the help, if no variable is set and there is no Default
	Help    string // parts end with "; ", without a full stop

	Required  string // the setting must be set; for the error: how to set it
	Needs     string // Name of a setting: while that one is off or not set, this one is not used
	Conflicts string // Name of a setting that must not be set together with this one
	NoEffect  string // the setting is accepted and does nothing; for the log: the reason

	Secret   bool // its variables are removed from the environment after reading, and its value is not shown
	KeepEnv  bool // the variables in Env stay in the environment though the setting is secret
	Masked   bool // its value is not shown, because it may hold a secret
	Unlisted bool // a variable of a CI or of another program: no setting of the step

	Set Setter[T] // nil if the value is not stored
}

// A Setter parses the text of a setting and stores the value in to. The error names the variable
// name, which the text came from.
type Setter[T any] func(to *T, name, text string) error

// A Table is a list of settings, in the order of the help.
type Table[T any] []Row[T]

// Within returns a table for a T from a table for a part of it.
func Within[T, U any](rows Table[U], part func(*T) *U) Table[T] {
	all := make(Table[T], len(rows))
	for i, r := range rows {
		all[i] = Row[T]{
			Name: r.Name, Aliases: r.Aliases, Env: r.Env, Default: r.Default, Unset: r.Unset, Help: r.Help,
			Required: r.Required, Needs: r.Needs, Conflicts: r.Conflicts, NoEffect: r.NoEffect,
			Secret: r.Secret, KeepEnv: r.KeepEnv, Masked: r.Masked, Unlisted: r.Unlisted,
		}
		if r.Set != nil {
			all[i].Set = func(to *T, name, text string) error { return r.Set(part(to), name, text) }
		}
	}
	return all
}

// removed ends the help of a secret setting.
const removed = "; removed from the environment after reading"

// names returns the variables that hold the setting's value, in order of precedence.
func (r Row[T]) names() []string { return slices.Concat([]string{r.Name}, r.Aliases, r.Env) }

// settings returns the aliases that are settings of the step themselves.
func (r Row[T]) settings() []string {
	isOther := func(name string) bool { return !strings.HasPrefix(name, Prefix) }
	return slices.DeleteFunc(slices.Clone(r.Aliases), isOther)
}

// Settings describes the table's settings for the help and the reference pages. An alias follows its
// setting.
func (t Table[T]) Settings() []config.Setting {
	var all []config.Setting
	for _, r := range t {
		if r.Unlisted {
			continue
		}
		all = append(all, config.Setting{Name: r.Name, Default: r.Default, Help: r.help(), Secret: r.Secret})
		for _, alias := range r.settings() {
			help := "the same as " + strings.ToLower(strings.TrimPrefix(r.Name, Prefix))
			if r.Secret {
				help += removed
			}
			all = append(all, config.Setting{Name: alias, Help: help, Secret: r.Secret})
		}
	}
	return all
}

// help returns the row's help with the sources of its value.
func (r Row[T]) help() string {
	sources := slices.Clone(r.Env)
	if r.Unset != "" {
		sources = append(sources, r.Unset)
	}
	text := r.Help
	if len(sources) > 0 {
		text += "; default: " + strings.Join(sources, ", else ")
	}
	if r.Secret && r.NoEffect == "" {
		text += removed
	}
	return text
}
