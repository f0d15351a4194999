package rules_test

import (
	"fmt"

	"slipway/plugin/autobuild"
	"slipway/plugin/rules"
)

// A pushed tag gets several image tags. The rule for branches explains why it does not build.
func ExampleDecide() {
	all := []autobuild.Rule{
		{ID: "releases", SourceType: autobuild.Tag, Source: `/^v([0-9]+)\.([0-9]+)$/`, Tags: `{\1}.{\2},{\1},latest`,
			Context: "/", Dockerfile: "Dockerfile", Autobuild: true},
		{ID: "main", SourceType: autobuild.Branch, Source: "main", Tags: "edge",
			Context: "/", Dockerfile: "Dockerfile", Autobuild: true},
	}
	change := autobuild.Change{
		Kind:   autobuild.Tag,
		Name:   "v1.2",
		Action: autobuild.Created,
		Commit: "1f6a9c2e07bd4c1f6a9c2e07bd4c1f6a9c2e07bd",
	}
	for _, d := range rules.Decide(change, all, rules.Options{}) {
		fmt.Println(d.Rule, d.Build, d.Tags)
		fmt.Println(" ", d.Reason)
	}
	// Output:
	// releases true [1.2 1 latest]
	//   tag v1.2 matches /^v([0-9]+)\.([0-9]+)$/
	// main false []
	//   the rule is for a branch, this is a tag
}

// Faults of rules are found when they are saved.
func ExampleCheck() {
	faults, warnings := rules.Check([]autobuild.Rule{
		{SourceType: autobuild.Tag, Source: `/^v(/`, Tags: "latest", Dockerfile: "Dockerfile", Autobuild: true},
		{SourceType: autobuild.Branch, Source: "main", Tags: `{\1}`, Dockerfile: "../Dockerfile", Autobuild: true},
	})
	for _, f := range faults {
		fmt.Println(f)
	}
	fmt.Println(len(warnings), "warnings")
	// Output:
	// rules[0].source: not a regular expression (RE2 syntax): missing closing ): ^v(
	// rules[1].tags: {\1} needs a regular expression as source, main is a literal name
	// rules[1].dockerfile: ../Dockerfile: .. is not allowed, paths begin at the repository's root
	// 0 warnings
}
