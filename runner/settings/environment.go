package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/joho/godotenv"

	"slipway/runner/ci"
	"slipway/runner/settings/table"
	"slipway/runner/source"
)

// An Environment holds the variables that settings are read from. OS is the process's own.
type Environment interface {
	// Environ returns the variables as NAME=value.
	Environ() []string
	// Unsetenv removes a variable, so that no child process inherits it.
	Unsetenv(name string) error
}

// OS is the environment of the process.
type OS struct{}

var _ Environment = OS{}

// Environ is os.Environ.
func (OS) Environ() []string { return os.Environ() }

// Unsetenv is os.Unsetenv.
func (OS) Unsetenv(name string) error { return os.Unsetenv(name) }

// A normalized environment has _ in the names of settings where the pipeline has -, for example in auto-tag.
// Woodpecker passes such a setting as PLUGIN_AUTO_TAG, and Drone as PLUGIN_AUTO-TAG.
type normalized struct{ Environment }

var _ Environment = normalized{}

// Environ returns the variables with the normalized names of settings.
func (n normalized) Environ() []string {
	lines := n.Environment.Environ()
	all := make([]string, len(lines))
	for i, line := range lines {
		name, value, _ := strings.Cut(line, "=")
		all[i] = normalizeName(name) + "=" + value
	}
	return all
}

// Unsetenv removes every variable whose normalized name is name.
func (n normalized) Unsetenv(name string) error {
	for _, line := range n.Environment.Environ() {
		given, _, _ := strings.Cut(line, "=")
		if normalizeName(given) != name {
			continue
		}
		if err := n.Environment.Unsetenv(given); err != nil {
			return err
		}
	}
	return nil
}

func normalizeName(name string) string {
	if strings.HasPrefix(name, table.Prefix) {
		return strings.ReplaceAll(name, "-", "_")
	}
	return name
}

// variables returns the variables by name. The last one of the same name counts.
func variables(environ []string) map[string]string {
	all := make(map[string]string, len(environ))
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		all[name] = value
	}
	return all
}

// nonEmpty returns the variables that are not empty. A CI sets an empty variable for ${DRONE_TAG} on a
// branch, and for a secret that a pull request does not get.
func nonEmpty(environ []string) map[string]string {
	all := variables(environ)
	for name, value := range all {
		if value == "" {
			delete(all, name)
		}
	}
	return all
}

// firstSet returns the value of the first of these variables that is set, and its name. If none is,
// it returns the fallback and Default.
func firstSet(given map[string]string, fallback string, names ...string) (value, origin string) {
	for _, name := range names {
		if value, ok := given[name]; ok {
			return value, name
		}
	}
	return fallback, Default
}

func isGiven(given map[string]string, name string) bool {
	_, ok := given[name]
	return ok
}

// maxEnvFile is the maximum size of a file of variables, in bytes.
const maxEnvFile = 64 << 10

// addEnvFile adds the variables of the file that env_file names to given, and returns a note for the
// log. They are read as settings, and no process inherits them. If given has a variable of the file,
// the file's value counts on Woodpecker, and the given one elsewhere. Each CI's plugin does the same.
// Source: https://github.com/drone-plugins/drone-docker/blob/master/cmd/drone-docker/main.go
func addEnvFile(given map[string]string) (note string, err error) {
	path := given[envFileName]
	if path == "" {
		return "", nil
	}
	workspace, _ := firstSet(given, ".", workspaceNames()...)
	text, err := source.ReadFile(workspace, path, maxEnvFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("%s: the file %s does not exist, so nothing is read from it", envFileName, path), nil
	case err != nil:
		return "", fmt.Errorf("%s: the file of variables %w", envFileName, err)
	}
	read, err := godotenv.Unmarshal(string(text))
	if err != nil { // not wrapped: it shows the line, which may hold a secret
		return "", fmt.Errorf("%s: %s does not consist of lines NAME=value", envFileName, path)
	}
	replaces := ci.Read(given).CI == ci.Woodpecker
	var taken, ignored []string
	for _, name := range slices.Sorted(maps.Keys(read)) {
		switch {
		case read[name] == "":
		case isGiven(given, name) && !replaces:
			ignored = append(ignored, name)
		default:
			given[name] = read[name]
			taken = append(taken, name)
		}
	}
	names := "no variable to use"
	if taken != nil {
		names = strings.Join(taken, ", ")
	}
	note = fmt.Sprintf("%s: %s has %s", envFileName, path, names)
	if ignored != nil {
		note += "; set in the step already, and not taken from it: " + strings.Join(ignored, ", ")
	}
	return note, nil
}
