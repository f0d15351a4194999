package rules_test

import (
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/rules"
)

func TestDecideCacheDomain(t *testing.T) {
	repository := autobuild.Repository{ProviderID: "p", ID: "{r}", WorkspaceID: "{w}"}
	push := autobuild.Build{
		ID: "b", AutomatedBuildID: "ab", Repository: repository,
		Ref: autobuild.Ref{Kind: autobuild.Branch, Name: "main"}, Cause: autobuild.CausePush,
	}
	pull := push
	pull.Ref = autobuild.Ref{Kind: autobuild.PullRequest, Name: "7"}
	pull.Cause = autobuild.CausePullRequest
	byBranch := push
	byBranch.Cause = autobuild.CausePullRequest
	unnamed := pull
	unnamed.Ref.Name = ""
	internal := pull
	internal.Internal = true
	pushed := push
	pushed.Internal = true // it has a meaning for pull requests only
	project := push
	project.Repository.WorkspaceID = ""
	for name, c := range map[string]struct {
		scope rules.CacheScope
		build autobuild.Build
		want  string
	}{
		"automated build":                  {rules.CacheByAutomatedBuild, push, "automated-build/ab"},
		"no scope":                         {"", push, "automated-build/ab"},
		"workspace":                        {rules.CacheByWorkspace, push, "workspace/p/{w}"},
		"project of a data center":         {rules.CacheByWorkspace, project, "automated-build/ab"},
		"pull request":                     {rules.CacheByAutomatedBuild, pull, "automated-build/ab/pull-request/7"},
		"pull request, by workspace":       {rules.CacheByWorkspace, pull, "automated-build/ab/pull-request/7"},
		"pull request with a branch's ref": {rules.CacheByWorkspace, byBranch, "automated-build/ab/pull-request/main"},
		"pull request without a name":      {rules.CacheByWorkspace, unnamed, "automated-build/ab/pull-request/b"},
		"internal":                         {rules.CacheByAutomatedBuild, internal, "automated-build/ab/pull-requests"},
		"internal, by workspace":           {rules.CacheByWorkspace, internal, "automated-build/ab/pull-requests"},
		"internal push":                    {rules.CacheByAutomatedBuild, pushed, "automated-build/ab"},
	} {
		t.Run(name, func(t *testing.T) {
			got := rules.DecideCacheDomain(c.scope, c.build)
			if got.ID != c.want {
				t.Errorf("domain: got %q, want %q", got.ID, c.want)
			}
			if got.Reason == "" {
				t.Error("reason: got none, want one")
			}
		})
	}
}
