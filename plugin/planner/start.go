package planner

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"slipway/config/grammar"
	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
	"slipway/plugin/rules"
)

// A Request asks for builds without a push, from a user or from a build trigger.
type Request struct {
	AutomatedBuildID string
	RuleID           string        // empty means every enabled rule; without a Ref, those with a literal source
	Ref              autobuild.Ref // zero means the rule's literal source
	Commit           string        // full hash; empty means the ref's head
	Cause            autobuild.Cause
	Key              string // a repeated request with the same key starts no more builds; empty means no key
	By               string // user name or trigger, shown on the build's page
}

// Start creates and returns the builds of a request. If an earlier request had the same key, it
// returns the builds of that request. If the caller can correct the request, the error is an
// autobuild.FieldError with the field rule, ref or commit. Other errors come from the store and
// the provider. Start is safe for concurrent use.
func (p *Planner) Start(ctx context.Context, q Request) ([]autobuild.Build, error) {
	a, err := p.o.Store.AutomatedBuild(ctx, q.AutomatedBuildID)
	if err != nil {
		return nil, fmt.Errorf("load automated build: %w", err)
	}
	targets, err := targetsOf(a, q)
	if err != nil {
		return nil, err
	}
	connection, err := p.o.Connector.Connect(ctx, a.AccountID)
	if err != nil {
		return nil, fmt.Errorf("use the account linked to %s: %w", a.Repository.FullName, err)
	}
	// Keep the stored name if the provider does not show the repository. The lookup of the commit
	// reports the cause.
	a.Repository, err = p.refreshName(ctx, connection, a.Repository)
	if err != nil && !errors.Is(err, autobuild.ErrNotFound) {
		return nil, err
	}
	drafts := make([]autobuild.Build, 0, len(targets))
	for _, t := range targets {
		b, err := p.draftBuild(ctx, connection, a, q, t)
		if err != nil {
			return nil, err
		}
		drafts = append(drafts, b)
	}
	return p.create(ctx, drafts)
}

// A target is a rule, the ref to build, and the rule's decision for it.
type target struct {
	rule     autobuild.Rule
	ref      autobuild.Ref
	decision autobuild.Decision
}

// targetsOf chooses the rules of a request. It has no side effects.
func targetsOf(a autobuild.AutomatedBuild, q Request) ([]target, error) {
	var targets []target
	for _, rule := range a.Rules {
		if q.RuleID != "" && rule.ID != q.RuleID {
			continue
		}
		t, err := targetOf(rule, q.Ref)
		switch {
		case err == nil && (q.RuleID != "" || rule.Autobuild):
			targets = append(targets, t)
		case err != nil && q.RuleID != "":
			return nil, err
		}
	}
	switch {
	case len(targets) > 0:
		return targets, nil
	case q.RuleID != "":
		return nil, autobuild.FieldError{Field: "rule", Message: fmt.Sprintf("rule %s does not exist", q.RuleID)}
	case q.Ref != (autobuild.Ref{}):
		return nil, autobuild.FieldError{Field: "ref",
			Message: fmt.Sprintf("no enabled rule builds %s %s", q.Ref.Kind, q.Ref.Name)}
	}
	return nil, autobuild.FieldError{Field: "ref",
		Message: "every enabled rule's source is a pattern: enter the branch or tag"}
}

// targetOf evaluates a rule for a requested ref. The rule's autobuild switch, the changed paths
// and skip phrases of the commit do not apply to a request.
func targetOf(rule autobuild.Rule, ref autobuild.Ref) (target, error) {
	if ref == (autobuild.Ref{}) {
		if strings.HasPrefix(rule.Source, "/") {
			return target{}, autobuild.FieldError{Field: "ref",
				Message: "this rule's source is a pattern: enter the branch or tag"}
		}
		ref = autobuild.Ref{Kind: rule.SourceType, Name: rule.Source}
	}
	asked := rule
	asked.Autobuild, asked.Paths = true, nil
	change := autobuild.Change{Kind: ref.Kind, Name: ref.Name, Action: autobuild.Updated}
	d := rules.Decide(change, []autobuild.Rule{asked}, rules.Options{})[0]
	if !d.Build {
		return target{}, autobuild.FieldError{Field: "ref", Message: d.Reason}
	}
	return target{rule: rule, ref: ref, decision: d}, nil
}

// draftBuild looks up the commit of a target and composes its build.
func (p *Planner) draftBuild(
	ctx context.Context, c autobuild.Connection, a autobuild.AutomatedBuild, q Request, t target,
) (autobuild.Build, error) {
	commit, err := commitOf(ctx, c, a.Repository, t.ref, q.Commit)
	if err != nil {
		return autobuild.Build{}, err
	}
	state, err := p.o.Store.RefState(ctx, a.Repository, t.ref)
	if err != nil && !errors.Is(err, autobuild.ErrNotFound) {
		return autobuild.Build{}, fmt.Errorf("load state of %s: %w", t.ref.Full(), err)
	}
	b := compose(a, t.rule, t.decision, t.ref, commit)
	b.Seq = state.Seq // the number of the ref's newest push, so that no older push replaces this build's tags
	b.Cause = q.Cause
	b.CauseKey = q.Key
	b.CausedBy = q.By
	b.ReceivedAt = p.o.Now()
	if b.Cause == "" {
		b.Cause = autobuild.CauseManual
	}
	return b, nil
}

// commitOf returns the requested commit, or the ref's head, from the provider. It returns a
// FieldError if the provider has no such ref or commit.
func commitOf(
	ctx context.Context, c autobuild.Connection, r autobuild.Repository, ref autobuild.Ref, hash string,
) (autobuild.Commit, error) {
	if hash == "" {
		commit, err := c.Commits.Resolve(ctx, r, ref)
		if errors.Is(err, autobuild.ErrNotFound) {
			return commit, autobuild.FieldError{Field: "ref",
				Message: fmt.Sprintf("%s has no %s %s", r.FullName, ref.Kind, ref.Name)}
		}
		if err != nil {
			return commit, fmt.Errorf("find %s of %s: %w", ref.Full(), r.FullName, err)
		}
		return commit, nil
	}
	if !grammar.IsCommit(hash) {
		return autobuild.Commit{}, autobuild.FieldError{Field: "commit", Message: "a commit is 40 hexadecimal digits"}
	}
	commit, err := c.Commits.Commit(ctx, r, hash)
	if errors.Is(err, autobuild.ErrNotFound) {
		return commit, autobuild.FieldError{
			Field:   "commit",
			Message: fmt.Sprintf("%s has no commit %s", r.FullName, hash),
		}
	}
	if err != nil {
		return commit, fmt.Errorf("find commit %s of %s: %w", hash, r.FullName, err)
	}
	return commit, nil
}

func (p *Planner) create(ctx context.Context, drafts []autobuild.Build) ([]autobuild.Build, error) {
	builds := make([]autobuild.Build, 0, len(drafts))
	for _, draft := range drafts {
		b, created, err := p.o.Store.CreateBuild(ctx, draft)
		if err != nil {
			return builds, fmt.Errorf("store build of %s: %w", draft.Ref.Full(), err)
		}
		if created {
			logctx.Log(logctx.Build(ctx, b), p.o.Log).
				Infof("build of %s %s started by %s", b.Repository.FullName, b.Ref.Full(),
					b.CausedBy)
		}
		builds = append(builds, b)
	}
	return builds, nil
}
