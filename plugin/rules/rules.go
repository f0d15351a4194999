// Package rules evaluates the build rules of an automated build for a change. Fields have the
// meaning that they have on Docker Hub. The package is pure: Decide returns each rule's decision
// with a reason, and Check validates rules before they are saved.
//
// Source: https://docs.docker.com/docker-hub/repos/manage/builds/ and its "Advanced options".
// Docker Hub's documentation leaves some cases open, and this package defines them. An unmatched
// group expands to nothing. A character that is invalid in a tag becomes an underscore. Equal
// tags count once.
package rules

import (
	"fmt"
	"strconv"

	"slipway/plugin/autobuild"
)

// Options are the settings of an automated build other than its rules.
type Options struct {
	Autotest autobuild.Autotest // empty means off
	// BuildSkipped builds also commits whose message asks for no build, for example with [skip ci].
	BuildSkipped bool
}

// PullRequestsOff is the reason why no rule builds a pull request without autotest.
const PullRequestsOff = "pull requests are not tested by this version"

// Evaluate returns the decisions of an automated build's rules, as Decide does. The gateway and the
// command explain both call it, so that they decide alike. This version does not test pull requests, so a
// stored autotest setting counts as off.
func Evaluate(c autobuild.Change, a autobuild.AutomatedBuild) []autobuild.Decision {
	return Decide(c, a.Rules, Options{Autotest: autobuild.AutotestOff, BuildSkipped: a.SkipCIOff})
}

// Decide returns one decision per rule, in order, and none for a deleted ref. An invalid rule
// (Check) builds nothing, and its decision has the reason.
func Decide(c autobuild.Change, rs []autobuild.Rule, o Options) []autobuild.Decision {
	decisions := make([]autobuild.Decision, 0, len(rs))
	if c.Action == autobuild.Deleted {
		return decisions
	}
	for i, r := range rs {
		d := decide(c, r, o)
		d.Rule = ruleName(r, i)
		if d.Tags == nil {
			d.Tags = []string{}
		}
		decisions = append(decisions, d)
	}
	return decisions
}

// ruleName returns the id of the rule at index i, or the index if the rule has no id.
func ruleName(r autobuild.Rule, i int) string {
	if r.ID != "" {
		return r.ID
	}
	return strconv.Itoa(i)
}

func decide(c autobuild.Change, r autobuild.Rule, o Options) autobuild.Decision {
	compiled, faults := compile(r)
	if len(faults) > 0 {
		return skip("the rule is not valid: %s", faults[0].Error())
	}
	if c.Kind == autobuild.PullRequest {
		return decidePullRequest(c, compiled, o)
	}
	if c.Kind != r.SourceType {
		return skip("the rule is for a %s, this is a %s", r.SourceType, c.Kind)
	}
	groups, ok := compiled.source.match(c.Name)
	if !ok {
		return skip("%s %s does not match %s", c.Kind, c.Name, r.Source)
	}
	testOnly := !r.Autobuild && autotestEnabled(o)
	if !r.Autobuild && !testOnly {
		return skip("%s %s matches %s, but autobuild is off", c.Kind, c.Name, r.Source)
	}
	if phrase := skipPhrase(c.Message); phrase != "" && c.Kind == autobuild.Branch && !o.BuildSkipped {
		return skip("%s %s matches %s, but its commit says %s", c.Kind, c.Name, r.Source, phrase)
	}
	d := buildDecision(c, compiled, c.Name, groups)
	if !d.Build {
		return d
	}
	d.Publish = !testOnly
	d.Reason = fmt.Sprintf("%s %s matches %s", c.Kind, c.Name, r.Source) + d.Reason
	if testOnly {
		d.Reason += "; autobuild is off and autotest on: built and tested, not pushed"
	}
	return d
}

// decidePullRequest decides on a pull request to a branch that the rule builds. Its builds are
// tests and are not pushed.
func decidePullRequest(c autobuild.Change, r compiledRule, o Options) autobuild.Decision {
	if reason := skipReason(c, o); reason != "" {
		return skip("%s", reason)
	}
	if r.rule.SourceType != autobuild.Branch {
		return skip("the rule is for a tag, pull requests go to branches")
	}
	groups, ok := r.source.match(c.Target)
	if !ok {
		return skip("target branch %s does not match %s", c.Target, r.rule.Source)
	}
	d := buildDecision(c, r, c.Target, groups)
	if d.Build {
		d.Reason = fmt.Sprintf("target branch %s matches %s", c.Target, r.rule.Source) + d.Reason +
			"; pull requests are built and tested, not pushed"
	}
	return d
}

// skipReason returns the reason why no rule tests a pull request event, or "".
func skipReason(c autobuild.Change, o Options) string {
	switch {
	case c.Action == autobuild.Closed:
		return "the pull request is closed"
	case c.Action == autobuild.Commented:
		return "a comment or review changes no code"
	case !autotestEnabled(o):
		return PullRequestsOff
	case c.Fork && o.Autotest != autobuild.AutotestAll:
		return "the pull request comes from a fork, autotest is for internal ones"
	case c.Commit == "":
		return "the pull request's source commit is gone"
	case c.Old == c.Commit:
		return "the pull request's source commit is the same as before"
	}
	return ""
}

func autotestEnabled(o Options) bool {
	return o.Autotest == autobuild.AutotestInternal || o.Autotest == autobuild.AutotestAll
}

// buildDecision returns the decision of a rule that matched ref. The caller prepends the match to
// its Reason.
func buildDecision(c autobuild.Change, r compiledRule, ref string, groups []string) autobuild.Decision {
	reason := ""
	if len(r.rule.Paths) > 0 {
		hit, why := r.pathsMatch(c.Paths)
		if !hit {
			return skip("%s", why)
		}
		reason = "; " + why
	}
	tags, rewrites := r.tags(ref, groups)
	if len(tags) == 0 {
		return skip("no valid tag: %q expands to nothing for %s", r.rule.Tags, ref)
	}
	for _, w := range rewrites {
		reason += "; " + w
	}
	return autobuild.Decision{
		Build:      true,
		Tags:       tags,
		Dockerfile: r.dockerfile,
		Context:    r.context,
		BuildArgs:  buildArgs(r.rule.BuildArgs, ref),
		Reason:     reason,
	}
}

func skip(format string, args ...any) autobuild.Decision {
	return autobuild.Decision{Reason: fmt.Sprintf(format, args...)}
}
