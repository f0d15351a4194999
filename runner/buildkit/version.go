package buildkit

import (
	"fmt"

	"golang.org/x/mod/semver"
)

// oldestVersion is the first BuildKit whose frontends cannot write outside its storage
// (CVE-2026-33747). Any Dockerfile can select a frontend with its syntax line. This version also has
// the fixes for all earlier vulnerabilities.
const oldestVersion = "v0.28.1"

// unknownVersion is the version that a BuildKit reports if it was built without its own build system.
// Slipway's builder is such a build.
const unknownVersion = "v0.0.0"

// checkVersion rejects a BuildKit version that is known to be unsafe. It accepts an unknown version,
// because Slipway's builder and custom builds report none.
func checkVersion(v string) error {
	if !semver.IsValid(v) || semver.Compare(v, oldestVersion) >= 0 ||
		semver.Compare(semver.Canonical(v), unknownVersion) == 0 {
		return nil
	}
	return fmt.Errorf(
		"BuildKit %s lets a Dockerfile's frontend write outside its storage (CVE-2026-33747): update to %s or newer",
		v,
		oldestVersion,
	)
}
