package tags_test

import (
	"fmt"

	"slipway/runner/ci"
	"slipway/runner/tags"
)

// A pushed Git tag v1.2.3 makes three tags. latest moves only if it is named.
func ExampleDecide() {
	run := ci.Run{CI: ci.Drone, Event: "tag", Ref: "refs/tags/v1.2.3", Tag: "v1.2.3", DefaultBranch: "main"}
	for _, mode := range []tags.Mode{tags.Docker, tags.Buildx, tags.Slipway} {
		plan, err := tags.Decide(run, tags.Settings{Mode: mode, Auto: true})
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(mode, plan.Tags)
		for _, note := range plan.Notes {
			fmt.Println("  note:", note)
		}
	}
	// Output:
	// docker [1 1.2 1.2.3]
	// buildx [1 1.2 1.2.3 latest]
	// slipway [1 1.2 1.2.3]
	//   note: latest is not moved: the default branch moves it (to move it with each release, too, add latest to tags) [latest-release]
}

// A feature branch never becomes latest.
func ExampleDecide_branch() {
	run := ci.Run{CI: ci.Woodpecker, Event: "push", Ref: "refs/heads/feature", Branch: "feature", DefaultBranch: "main"}
	plan, err := tags.Decide(run, tags.Settings{
		Mode: tags.Slipway, Auto: true, Named: []string{"latest", "edge"}, From: "PLUGIN_TAGS",
	})
	fmt.Println(plan.Tags, err)
	// Output:
	// [edge] <nil>
}
