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
		r := planning{builds: []autobuild.AutomatedBuild{{
			Autotest: autobuild.AutotestAll, Rules: []autobuild.Rule{autobuild.DefaultRule("main")},
		}}}
		m := r.planMove(t.Context(), decision{New: "c"}, c.change, autobuild.Commit{})
		if len(m.Builds) != 1 {
			t.Errorf("%s: got %d builds, want 1: %+v", name, len(m.Builds), m.Outcome)
			continue
		}
		if got := m.Builds[0].Internal; got != c.internal {
			t.Errorf("%s: got internal %t, want %t", name, got, c.internal)
		}
	}
}
