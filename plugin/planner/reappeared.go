package planner

import (
	"context"
	"fmt"
	"slices"

	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
)

// withholdBuilt removes the builds of a deleted ref that a poll found again, if their rules built this
// commit for the ref before. No delivery shows that anybody pushed the ref, and its tags would move
// back to an old image. The plan stores them as reappeared, so that a person can start them.
func (r *planning) withholdBuilt(ctx context.Context, m *autobuild.Move) error {
	var kept []autobuild.Build
	next := 0 // index into Outcome.Rules
	for _, b := range m.Builds {
		for !m.Outcome.Rules[next].Decision.Build {
			next++
		}
		decision := &m.Outcome.Rules[next].Decision
		next++
		number, err := r.builtAs(ctx, b)
		if err != nil {
			return err
		}
		if number == 0 {
			kept = append(kept, b)
			continue
		}
		decision.Build, decision.Publish, decision.Tags = false, false, []string{}
		decision.Reason = fmt.Sprintf("a poll found the deleted %s again at the commit of build %d", b.Ref.Kind, number)
		r.plan.Reappeared = append(r.plan.Reappeared, autobuild.ReappearedRef{
			AutomatedBuildID: b.AutomatedBuildID,
			RuleID:           b.RuleID,
			Ref:              b.Ref,
			Commit:           b.Commit.Hash,
			BuildNumber:      number,
		})
		logctx.Log(ctx, r.o.Log).WithField("build", number).Warnf(
			"%s %s exists again at %s, which rule %s built before: not built again; start the build by hand if it is wanted",
			r.repository.FullName, b.Ref.Full(), shortHash(b.Commit.Hash), b.RuleID)
	}
	m.Builds = kept
	return nil
}

// builtAs returns the number of the newest build that the rule of b has of the ref at the commit. 0
// means none.
func (r *planning) builtAs(ctx context.Context, b autobuild.Build) (int64, error) {
	earlier, err := r.o.Store.BuildsOf(ctx, b.AutomatedBuildID, b.Ref, b.Commit.Hash)
	if err != nil {
		return 0, err
	}
	i := slices.IndexFunc(earlier, func(e autobuild.Build) bool { return e.RuleID == b.RuleID })
	if i < 0 {
		return 0, nil
	}
	return earlier[i].Number, nil
}
