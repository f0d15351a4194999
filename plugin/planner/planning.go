package planner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slipway/config/text"
	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
	"slipway/plugin/rules"
)

// A planning collects and decides one plan, for one delivery or for missed pushes. Use it once. It is not
// safe for concurrent use.
type planning struct {
	*Planner
	connection autobuild.Connection
	hook       autobuild.Hook
	repository autobuild.Repository
	cause      autobuild.Cause
	delivery   autobuild.Delivery // zero for missed pushes
	received   time.Time          // when the delivery was stored, or the planning began

	builds  []autobuild.AutomatedBuild
	known   map[autobuild.Ref]autobuild.RefState // after the moves of this planning
	plan    autobuild.Plan
	settled bool // every observed ref has the provider's head
}

func (p *Planner) newPlanning(c autobuild.Connection, hook autobuild.Hook, cause autobuild.Cause) *planning {
	return &planning{
		Planner: p, connection: c, hook: hook, repository: hook.Repository, cause: cause, received: p.o.Now(),
		known: map[autobuild.Ref]autobuild.RefState{}, settled: true,
	}
}

// withRepoLock runs work while no other planning of the same repository runs. It runs work again,
// up to maxPlanAttempts times in all, if a ref moved before the plan was stored.
func (p *Planner) withRepoLock(
	ctx context.Context, hook autobuild.Hook, cause autobuild.Cause, work func(*planning) error,
) error {
	defer p.lock(hook.ID)()
	connection, err := p.connect(ctx, hook)
	if err != nil {
		return err
	}
	for range maxPlanAttempts {
		err = work(p.newPlanning(connection, hook, cause))
		if !errors.Is(err, autobuild.ErrConflict) {
			break
		}
	}
	return err
}

// deliver plans the changes of a delivery in their order.
func (r *planning) deliver(ctx context.Context, d autobuild.Delivery, push autobuild.Push) error {
	r.delivery, r.received = d, d.ReceivedAt
	if err := r.checkRename(ctx, push.Repository.FullName); err != nil {
		return err
	}
	if err := r.loadBuilds(ctx); err != nil {
		return err
	}
	heads := newHeadResolver(r.connection, r.repository, len(push.Changes))
	for _, c := range push.Changes {
		if err := r.planChange(ctx, heads, c); err != nil {
			return err
		}
	}
	r.plan.DeliveryID = r.delivery.ID
	r.plan.State, r.plan.Reason = summarize(r.plan)
	if len(push.Skipped) > 0 {
		r.settled = false // the poll finds the changes that the payload left out
	}
	return r.store(ctx)
}

// checkRename refreshes the repository's name if a delivery has another one. The name in the
// payload is only the reason to ask the provider.
func (r *planning) checkRename(ctx context.Context, reported string) error {
	if reported == "" || reported == r.repository.FullName {
		return nil
	}
	return r.rename(ctx)
}

// rename loads the repository's current name from the provider and stores it.
func (r *planning) rename(ctx context.Context) (err error) {
	r.repository, err = r.refreshName(ctx, r.connection, r.repository)
	return err
}

func (r *planning) loadBuilds(ctx context.Context) (err error) {
	r.builds, err = r.o.Store.AutomatedBuildsOf(ctx, r.repository)
	if err != nil {
		return fmt.Errorf("load automated builds of %s: %w", r.repository.FullName, err)
	}
	return nil
}

// planChange plans one change of a delivery.
func (r *planning) planChange(ctx context.Context, heads *headResolver, c autobuild.Change) error {
	if c.Kind == autobuild.PullRequest {
		r.refusePullRequest(c)
		return nil
	}
	s, commit, err := r.observe(ctx, heads, c)
	if err != nil {
		return fmt.Errorf("check %s of %s: %w", c.Ref().Full(), r.repository.FullName, err)
	}
	return r.decide(ctx, s, c, commit)
}

// decide evaluates an observation. If the change is accepted, the rules decide which builds it makes
// (planMove).
func (r *planning) decide(ctx context.Context, s observation, c autobuild.Change, commit autobuild.Commit) error {
	v := evaluate(s)
	r.settled = r.settled && v.Settled
	if !v.Accept {
		r.refuse(c, v.Reason)
		return nil
	}
	move := r.planMove(ctx, v, c, commit)
	move.Seq = s.Known.Seq + 1
	move.Gap = r.cause == autobuild.CauseReconcile || s.Old != s.Known.Head
	if r.cause == autobuild.CauseReconcile && s.Known.Seq > 0 && s.Known.Head == "" {
		if err := r.withholdBuilt(ctx, &move); err != nil {
			return err
		}
	}
	r.known[s.Ref] = autobuild.RefState{Head: v.New, Seq: move.Seq, Gap: move.Gap || s.Known.Gap}
	r.plan.Moves = append(r.plan.Moves, move)
	return nil
}

func (r *planning) refuse(c autobuild.Change, reason string) {
	r.plan.Refused = append(r.plan.Refused, autobuild.Outcome{Change: c, Refused: reason})
}

// refusePullRequest records the decisions of all rules on a pull request. No rule builds one in this version.
func (r *planning) refusePullRequest(c autobuild.Change) {
	outcome := autobuild.Outcome{Change: c, Refused: rules.PullRequestsOff}
	for _, a := range r.builds {
		for _, d := range rules.Evaluate(c, a) {
			outcome.Rules = append(outcome.Rules, autobuild.RuleDecision{AutomatedBuildID: a.ID, Decision: d})
		}
	}
	r.plan.Refused = append(r.plan.Refused, outcome)
}

// observe collects the inputs of the decision on a change, and returns the commit that the change
// leads to.
func (r *planning) observe(
	ctx context.Context, heads *headResolver, c autobuild.Change,
) (observation, autobuild.Commit, error) {
	ref := c.Ref()
	s := observation{Ref: ref, Old: c.Old, New: c.Commit}
	var err error
	s.Known, err = r.loadRefState(ctx, ref)
	if err != nil {
		return s, autobuild.Commit{}, err
	}
	asked := autobuild.Transition{Repository: r.repository, Ref: ref, Old: c.Old, New: c.Commit}
	s.Repeated, err = r.o.Store.TransitionSeen(ctx, asked)
	if err != nil {
		return s, autobuild.Commit{}, err
	}
	head, err := heads.resolve(ctx, c)
	if err != nil && !errors.Is(err, autobuild.ErrNotFound) {
		return s, autobuild.Commit{}, err
	}
	s.Head = head.Hash
	if s.New == s.Head || s.New == "" {
		return s, head, nil
	}
	commit, err := r.connection.Commits.Commit(ctx, r.repository, s.New)
	if errors.Is(err, autobuild.ErrNotFound) {
		return s, autobuild.Commit{}, nil
	}
	if err != nil {
		return s, autobuild.Commit{}, err
	}
	s.Exists = commit.Hash == s.New
	s.Between, err = r.isBetween(ctx, s)
	return s, commit, err
}

func (r *planning) loadRefState(ctx context.Context, ref autobuild.Ref) (autobuild.RefState, error) {
	if state, ok := r.known[ref]; ok {
		return state, nil
	}
	state, err := r.o.Store.RefState(ctx, r.repository, ref)
	if errors.Is(err, autobuild.ErrNotFound) {
		return autobuild.RefState{}, nil
	}
	return state, err
}

// store writes the plan, with its builds and their tasks, in one transaction. It schedules a poll if a
// stored ref is behind the provider's head.
func (r *planning) store(ctx context.Context) error {
	if !r.settled {
		r.o.Polls.SchedulePoll(r.hook.ID)
	}
	r.plan.Repository = r.repository
	builds, err := r.o.Store.Plan(ctx, r.plan)
	if err != nil {
		return fmt.Errorf("store the plan for %s: %w", r.repository.FullName, err)
	}
	if r.plan.DeliveryID != "" {
		r.logResult(ctx, r.plan.State, r.plan.Reason)
	}
	for _, b := range builds {
		logctx.Log(logctx.Build(ctx, b), r.o.Log).
			Infof("build of %s %s at %s queued", b.Repository.FullName, b.Ref.Full(),
				shortHash(b.Commit.Hash))
	}
	return nil
}

// summarize returns the state of a delivery and a one-line reason.
func summarize(p autobuild.Plan) (autobuild.DeliveryState, string) {
	builds := 0
	for _, m := range p.Moves {
		builds += len(m.Builds)
	}
	switch {
	case builds > 0:
		return autobuild.DeliveryPlanned, text.Plural(builds, "build")
	case len(p.Moves) > 0:
		return autobuild.DeliveryPlanned, "no rule builds this"
	case len(p.Refused) == 1:
		return autobuild.DeliveryIgnored, p.Refused[0].Refused
	}
	return autobuild.DeliveryIgnored, fmt.Sprintf("none of its %s is new", text.Plural(len(p.Refused), "change"))
}
