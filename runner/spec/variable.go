package spec

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var variableShape = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

const maxVariable = 128

// CheckVariable says whether an automated build's environment may set a variable: not what
// decides which programs run and how (GO-2024-2998's kind), and not what a build sets itself.
// Its error shows no value.
func CheckVariable(name, value string) error {
	if len(name) > maxVariable || !variableShape.MatchString(name) {
		return fmt.Errorf("%.130q is no name of a variable: letters, digits and _, no digit first", name)
	}
	if strings.ContainsRune(value, 0) {
		return fmt.Errorf("the value of %s holds a NUL byte", name)
	}
	if reserved(strings.ToUpper(name)) {
		return fmt.Errorf("%s is reserved; give the variable another name", name)
	}
	return nil
}

func reserved(name string) bool {
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
