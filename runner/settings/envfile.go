package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/joho/godotenv"

	"slipway/runner/ci"
	"slipway/runner/source"
)

const (
	envFileName = "PLUGIN_ENV_FILE"
	// maxEnvFile bounds a file of variables, in bytes.
	maxEnvFile = 64 << 10
)

// addEnvFile adds the variables of the file that env_file names to those that were given, and
// returns what the log should say of it. Where both have a variable, the file's counts on
// Woodpecker and the given one elsewhere, as in the plugin that a pipeline there comes from.
// They are read as settings and given to no process.
// Source: https://github.com/drone-plugins/drone-docker/blob/master/cmd/drone-docker/main.go
func addEnvFile(given map[string]string) (note string, err error) {
	path := given[envFileName]
	if path == "" {
		return "", nil
	}
	workspace, _ := first(given, ".", workspaceNames()...)
	text, err := source.ReadFile(workspace, path, maxEnvFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("%s: there is no file %s, and nothing was read from it", envFileName, path), nil
	case err != nil:
		return "", fmt.Errorf("%s: the file of variables %w", envFileName, err)
	}
	read, err := godotenv.Unmarshal(string(text))
	if err != nil { // which shows what it did not take
		return "", fmt.Errorf("%s: %s is no file of lines NAME=value", envFileName, path)
	}
	replaces := ci.Read(given).CI == ci.Woodpecker
	var taken, left []string
	for _, name := range slices.Sorted(maps.Keys(read)) {
		switch _, both := given[name]; {
		case read[name] == "":
		case both && !replaces:
			left = append(left, name)
		default:
			given[name] = read[name]
			taken = append(taken, name)
		}
	}
	note = fmt.Sprintf("%s: %s has %s", envFileName, path, orNone(taken))
	if left != nil {
		note += "; set in the step already, and not taken from it: " + strings.Join(left, ", ")
	}
	return note, nil
}

func orNone(names []string) string {
	if names == nil {
		return "none that counts"
	}
	return strings.Join(names, ", ")
}
