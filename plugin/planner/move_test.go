package planner

import (
	"testing"

	"slipway/plugin/autobuild"
)

// The trust domain of a pull request's build depends on its source repository.
func TestABuildRecordsWhereItsPullRequestComesFrom(t *testing.T) {
	pull := autobuild.Change{
		Kind:   autobuild.PullRequest,
		Name:   "7",
		Action: autobuild.Opened,
		Commit: "c",
		Target: "main",
	}
	fork := pull
	fork.Fork = true
	push := autobuild.Change{Kind: autobuild.Branch, Name: "main", Action: autobuild.Updated, Commit: "c"}
	for name, c := range map[string]struct {
		change   autobuild.Change
		internal bool
	}{
		"from the repository itself": {pull, true},
		"from a fork":                {fork, false},
		"a push":                     {push, false},
	} {
		r := planning{}
		b := r.composeFor(c.change, autobuild.AutomatedBuild{}, autobuild.DefaultRule("main"), autobuild.Decision{},
			autobuild.Commit{})
		if got := b.Internal; got != c.internal {
			t.Errorf("%s: got internal %t, want %t", name, got, c.internal)
		}
	}
}
