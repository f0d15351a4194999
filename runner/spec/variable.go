package spec

import (
	"fmt"
	"slices"
	"strings"

	"slipway/config/grammar"
)

const maxVariable = 128

// CheckVariable checks that an automated build's environment may set a variable. It refuses variables
// that decide which programs run and how (as in GO-2024-2998), and variables that a build sets itself.
// The error does not contain the value.
func CheckVariable(name, value string) error {
	if len(name) > maxVariable || !grammar.IsVariable(name) {
		return fmt.Errorf("%.130q is not a variable name: use letters, digits and _, no digit first", name)
	}
	if strings.ContainsRune(value, 0) {
		return fmt.Errorf("the value of %s has a NUL byte", name)
	}
	if isReserved(strings.ToUpper(name)) {
		return fmt.Errorf("%s is reserved: choose another name for the variable", name)
	}
	return nil
}

func isReserved(name string) bool {
	for _, prefix := range []string{"LD_", "DYLD_", "GIT_", "PLUGIN_", "SLIPWAY_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{
		"PATH",
		"HOME",
		"LANG",
		"DOCKER_CONFIG",
		"BASH_ENV",
		"ENV",
		"IFS",
		"SHELLOPTS",
		"BASHOPTS",
		"PS4",
		"GLIBC_TUNABLES",
		"SOURCE_BRANCH",
		"SOURCE_COMMIT",
		"COMMIT_MSG",
		"DOCKER_REPO",
		"DOCKERFILE_PATH",
		"DOCKER_TAG",
		"CACHE_TAG",
		"IMAGE_NAME",
	}, name)
}
