package builder

import (
	"fmt"

	"golang.org/x/mod/semver"
)

// oldestVersion is the first BuildKit whose frontends cannot write outside of its storage
// (CVE-2026-33747), which any Dockerfile may name by its syntax line. What was known before that
// is mended in it, too.
const oldestVersion = "v0.28.1"

// unknownVersion is what a BuildKit says that was built without its build system, as ours is.
const unknownVersion = "v0.0.0"

// checkVersion refuses a BuildKit that is known to be unsafe. One that does not know its version
// is taken: it is ours, or somebody built it.
func checkVersion(v string) error {
	if !semver.IsValid(v) || semver.Compare(v, oldestVersion) >= 0 || semver.Compare(semver.Canonical(v), unknownVersion) == 0 {
		return nil
	}
	return fmt.Errorf("it is BuildKit %s, of which a Dockerfile's frontend may leave its storage (CVE-2026-33747): update it to %s or newer", v, oldestVersion)
}
