package worldtest

import "os"

// BuilderProgram is the program that runs `slipway builder` for tests: what
// SLIPWAY_TEST_BUILDER names, else this one. BuildKit under the race detector takes most of the
// time of tests that are about everything else.
func BuilderProgram() (string, error) {
	if named := os.Getenv("SLIPWAY_TEST_BUILDER"); named != "" {
		return named, nil
	}
	return os.Executable()
}
