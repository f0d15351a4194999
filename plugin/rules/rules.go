// Package rules answers what the build rules of an automated build make of a change, with
// Docker Hub's meaning of each field. Everything in it is pure: Decide explains every rule's
// answer to a change, Check finds the faults of rules when they are saved.
//
// Source: https://docs.docker.com/docker-hub/repos/manage/builds/ and its "Advanced options".
// Where Docker Hub's text is silent, this is decided here: an unmatched group expands to
// nothing; a character that a tag cannot have becomes an underscore; equal tags count once.
package rules

import (
	"fmt"
	"strconv"

	ab "slipway/plugin/autobuild"
)

// Options are what an automated build decides besides its rules.
type Options struct {
	Autotest ab.Autotest // empty = off
}

// Decide gives one decision per rule, in order; a deleted ref has none. A rule that Check
// would refuse builds nothing, and its decision says why.
func Decide(c ab.Change, rs []ab.Rule, o Options) []ab.Decision {
	decisions := make([]ab.Decision, 0, len(rs))
	if c.Action == ab.Deleted {
		return decisions
	}
	for i, r := range rs {
		d := decide(c, r, o)
		d.Rule = name(r, i)
		if d.Tags == nil {
			d.Tags = []string{}
		}
		decisions = append(decisions, d)
	}
	return decisions
}

// name is what a decision calls the rule at index i.
func name(r ab.Rule, i int) string {
	if r.ID != "" {
		return r.ID
	}
	return strconv.Itoa(i)
}

func decide(c ab.Change, r ab.Rule, o Options) ab.Decision {
	compiled, faults := compile(r)
	if len(faults) > 0 {
		return no("the rule is not valid: %s", faults[0].Error())
	}
	if c.Kind == ab.PullRequest {
		return decidePullRequest(c, compiled, o)
	}
	if c.Kind != r.SourceType {
		return no("the rule is for a %s, this is a %s", r.SourceType, c.Kind)
	}
	groups, ok := compiled.source.match(c.Name)
	if !ok {
		return no("%s %s does not match %s", c.Kind, c.Name, r.Source)
	}
	testOnly := !r.Autobuild && autotests(o)
	if !r.Autobuild && !testOnly {
		return no("%s %s matches %s, but autobuild is off", c.Kind, c.Name, r.Source)
	}
	if phrase := skipPhrase(c.Message); phrase != "" && c.Kind == ab.Branch {
		return no("%s %s matches %s, but its commit says %s", c.Kind, c.Name, r.Source, phrase)
	}
	d := build(c, compiled, c.Name, groups)
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

// decidePullRequest tests what is proposed to a branch that a rule builds; nothing is pushed.
func decidePullRequest(c ab.Change, r compiledRule, o Options) ab.Decision {
	if reason := untested(c, o); reason != "" {
		return no("%s", reason)
	}
	if r.rule.SourceType != ab.Branch {
		return no("the rule is for a tag, pull requests go to branches")
	}
	groups, ok := r.source.match(c.Target)
	if !ok {
		return no("target branch %s does not match %s", c.Target, r.rule.Source)
	}
	d := build(c, r, c.Target, groups)
	if d.Build {
		d.Reason = fmt.Sprintf("target branch %s matches %s", c.Target, r.rule.Source) + d.Reason + "; pull requests are built and tested, not pushed"
	}
	return d
}

// untested says why a pull request event is not tested by any rule.
func untested(c ab.Change, o Options) string {
	switch {
	case c.Action == ab.Closed:
		return "the pull request is closed"
	case c.Action == ab.Commented:
		return "a comment or review changes no code"
	case !autotests(o):
		return "autotest is off for pull requests"
	case c.Fork && o.Autotest != ab.AutotestAll:
		return "the pull request comes from a fork, autotest is for internal ones"
	case c.Commit == "":
		return "the pull request's source commit is gone"
	case c.Old == c.Commit:
		return "the pull request's source commit is the same as before"
	}
	return ""
}

func autotests(o Options) bool {
	return o.Autotest == ab.AutotestInternal || o.Autotest == ab.AutotestAll
}

// build fills in what is built when a rule matched ref; Reason is what to add to the match.
func build(c ab.Change, r compiledRule, ref string, groups []string) ab.Decision {
	reason := ""
	if len(r.rule.Paths) > 0 {
		hit, why := r.pathsMatch(c.Paths)
		if !hit {
			return no("%s", why)
		}
		reason = "; " + why
	}
	tags, rewrites := r.tags(ref, groups)
	if len(tags) == 0 {
		return no("no valid tag: %q expands to nothing for %s", r.rule.Tags, ref)
	}
	for _, w := range rewrites {
		reason += "; " + w
	}
	return ab.Decision{
		Build:      true,
		Tags:       tags,
		Dockerfile: r.dockerfile,
		Context:    r.context,
		BuildArgs:  buildArgs(r.rule.BuildArgs, ref),
		Reason:     reason,
	}
}

func no(format string, args ...any) ab.Decision {
	return ab.Decision{Reason: fmt.Sprintf(format, args...)}
}
