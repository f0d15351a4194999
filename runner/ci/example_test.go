package ci_test

import (
	"fmt"

	"slipway/runner/ci"
)

// Each value remembers the variable that it came from.
func ExampleRead() {
	run := ci.Read(map[string]string{
		"CI": "woodpecker", "CI_PIPELINE_EVENT": "tag", "CI_COMMIT_REF": "refs/tags/v1.2", "CI_COMMIT_TAG": "v1.2",
		"CI_REPO": "acme/app", "CI_REPO_DEFAULT_BRANCH": "main",
	})
	fmt.Println(run.CI, run.Kind(), run.Name(), run.Repository)
	fmt.Println(run.Origins["Tag"])
	// Output:
	// woodpecker tag v1.2 acme/app
	// CI_COMMIT_TAG
}
