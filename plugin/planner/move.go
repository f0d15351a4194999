package planner

import (
	"context"
	"maps"
	"slices"

	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
	"slipway/plugin/rules"
)

// planMove evaluates an accepted change with the rules of every automated build of the
// repository, and composes the builds. The rules read the provider's commit, because a payload is
// not trusted.
func (r *planning) planMove(
	ctx context.Context, v decision, c autobuild.Change, commit autobuild.Commit,
) autobuild.Move {
	t := autobuild.Transition{Repository: r.repository, Ref: c.Ref(), Old: v.Old, New: v.New}
	c.Action, c.Message = actionOf(t, c.Action), commit.Message
	m := autobuild.Move{Transition: t, Outcome: autobuild.Outcome{Change: c}}
	if t.New == "" {
		m.Outcome.Refused = "deleted: nothing to build"
		return m
	}
	c = r.withPaths(ctx, t, c)
	for _, a := range r.builds {
		for i, d := range rules.Evaluate(c, a) {
			m.Outcome.Rules = append(m.Outcome.Rules, autobuild.RuleDecision{AutomatedBuildID: a.ID, Decision: d})
			if !d.Build {
				continue
			}
			m.Builds = append(m.Builds, r.composeFor(c, a, a.Rules[i], d, commit))
		}
	}
	return m
}

// composeFor composes the build of one decision on a change, with its cause.
func (r *planning) composeFor(
	c autobuild.Change, a autobuild.AutomatedBuild, rule autobuild.Rule, d autobuild.Decision, commit autobuild.Commit,
) autobuild.Build {
	b := compose(a, rule, d, c.Ref(), commit)
	b.Cause, b.DeliveryID, b.ReceivedAt = r.cause, r.delivery.ID, r.received
	b.Internal = c.Internal()
	return b
}

// actionOf returns the action of a transition. It keeps the reported action if that is possible.
func actionOf(t autobuild.Transition, reported autobuild.Action) autobuild.Action {
	switch {
	case t.New == "":
		return autobuild.Deleted
	case reported == autobuild.Created || reported == autobuild.Updated:
		return reported
	case t.Old == "":
		return autobuild.Created
	}
	return autobuild.Updated
}

// withPaths adds the changed paths if the decision of a rule depends on them. If the lookup fails,
// the paths stay unknown, and unknown paths build: a surplus build is better than a missing one.
func (r *planning) withPaths(ctx context.Context, t autobuild.Transition, c autobuild.Change) autobuild.Change {
	wanted := slices.ContainsFunc(r.builds, func(a autobuild.AutomatedBuild) bool { return wantsPaths(c, a) })
	if t.Old == "" || !wanted {
		return c
	}
	paths, err := r.connection.History.ChangedPaths(ctx, r.repository, t.Old, t.New)
	if err != nil {
		logctx.Log(ctx, r.o.Log).WithError(err).Warnf("cannot load the changed paths of %s %s: its rules build",
			r.repository.FullName, t.Ref.Full())
		return c
	}
	c.Paths = paths
	return c
}

// wantsPaths reports whether the decision of any rule depends on the changed paths.
func wantsPaths(c autobuild.Change, a autobuild.AutomatedBuild) bool {
	for i, d := range rules.Evaluate(c, a) {
		if d.Build && len(a.Rules[i].Paths) > 0 {
			return true
		}
	}
	return false
}

// compose creates the build of one decision. The caller sets the cause, the delivery and the
// times.
func compose(
	a autobuild.AutomatedBuild, rule autobuild.Rule, d autobuild.Decision, ref autobuild.Ref, c autobuild.Commit,
) autobuild.Build {
	return autobuild.Build{
		AutomatedBuildID: a.ID,
		RuleID:           rule.ID,
		Repository:       a.Repository,
		Ref:              ref,
		Commit:           c,
		Image:            a.Image,
		Tags:             slices.Clone(d.Tags),
		Dockerfile:       d.Dockerfile,
		Context:          d.Context,
		BuildArgs:        maps.Clone(d.BuildArgs),
		Platforms:        slices.Clone(rule.Platforms),
		Caching:          rule.Caching,
		Publish:          d.Publish,
		State:            autobuild.Queued,
	}
}
