package planner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/trail"
)

// A round gathers and decides one plan: of one delivery, or of one poll. It is used once.
type round struct {
	*Planner
	connection autobuild.Connection
	hook       autobuild.Hook
	repository autobuild.Repository
	cause      autobuild.Cause
	delivery   autobuild.Delivery // zero for a poll
	received   time.Time          // when what caused the round was safe here

	builds  []autobuild.AutomatedBuild
	known   map[autobuild.Ref]autobuild.RefState // as this round's moves leave them
	plan    autobuild.Plan
	settled bool // every ref that was looked at is where the provider has it
}

func (p *Planner) newRound(c autobuild.Connection, hook autobuild.Hook, cause autobuild.Cause) *round {
	return &round{
		Planner: p, connection: c, hook: hook, repository: hook.Repository, cause: cause, received: p.o.Now(),
		known: map[autobuild.Ref]autobuild.RefState{}, settled: true,
	}
}

// inTurn lets work gather, decide and store in a round, while no other round of the same
// repository does, and anew when a ref moved meanwhile.
func (p *Planner) inTurn(ctx context.Context, hook autobuild.Hook, cause autobuild.Cause, work func(*round) error) error {
	defer p.turn(hook.ID)()
	connection, err := p.connect(ctx, hook)
	if err != nil {
		return err
	}
	for range maxAnew {
		err = work(p.newRound(connection, hook, cause))
		if !errors.Is(err, autobuild.ErrConflict) {
			break
		}
	}
	return err
}

// deliver plans a delivery's changes, in their order.
func (r *round) deliver(ctx context.Context, d autobuild.Delivery, push autobuild.Push) error {
	r.delivery, r.received = d, d.ReceivedAt
	if err := r.follow(ctx, push.Repository.FullName); err != nil {
		return err
	}
	if err := r.loadBuilds(ctx); err != nil {
		return err
	}
	heads := newHeads(r.connection, r.repository, len(push.Changes))
	for _, c := range push.Changes {
		if err := r.report(ctx, heads, c); err != nil {
			return err
		}
	}
	r.plan.DeliveryID = r.delivery.ID
	r.plan.State, r.plan.Reason = summary(r.plan)
	if len(push.Skipped) > 0 {
		r.settled = false // what was left off is for the poll to find
	}
	return r.store(ctx)
}

// follow notices that the repository was renamed. The delivery's name is only the occasion to
// ask.
func (r *round) follow(ctx context.Context, told string) error {
	if told == "" || told == r.repository.FullName {
		return nil
	}
	return r.rename(ctx)
}

// rename takes over the repository's present name.
func (r *round) rename(ctx context.Context) (err error) {
	r.repository, err = r.named(ctx, r.connection, r.repository)
	return err
}

func (r *round) loadBuilds(ctx context.Context) (err error) {
	r.builds, err = r.o.Store.AutomatedBuildsOf(ctx, r.repository)
	if err != nil {
		return fmt.Errorf("load automated builds of %s: %w", r.repository.FullName, err)
	}
	return nil
}

// report answers one change that a delivery tells of.
func (r *round) report(ctx context.Context, heads *heads, c autobuild.Change) error {
	if c.Kind == autobuild.PullRequest {
		r.refuse(c, "pull requests are not tested by this version")
		return nil
	}
	s, commit, err := r.look(ctx, heads, c)
	if err != nil {
		return fmt.Errorf("look at %s of %s: %w", c.Ref().Full(), r.repository.FullName, err)
	}
	return r.decide(ctx, s, c, commit)
}

// decide accepts or refuses a sighting, and puts what is accepted to the rules.
func (r *round) decide(ctx context.Context, s sighting, c autobuild.Change, commit autobuild.Commit) error {
	v := accept(s)
	r.settled = r.settled && v.Settled
	if !v.Accept {
		r.refuse(c, v.Reason)
		return nil
	}
	r.known[s.Ref] = autobuild.RefState{Head: v.New, Seq: s.Known.Seq + 1}
	r.plan.Moves = append(r.plan.Moves, r.move(ctx, v, c, commit))
	return nil
}

func (r *round) refuse(c autobuild.Change, reason string) {
	r.plan.Refused = append(r.plan.Refused, autobuild.Outcome{Change: c, Refused: reason})
}

// look gathers what accepting a change depends on, and the commit that it leads to.
func (r *round) look(ctx context.Context, heads *heads, c autobuild.Change) (sighting, autobuild.Commit, error) {
	ref := c.Ref()
	s := sighting{Ref: ref, Old: c.Old, New: c.Commit}
	var err error
	if s.Known, err = r.stateOf(ctx, ref); err != nil {
		return s, autobuild.Commit{}, err
	}
	asked := autobuild.Transition{Repository: r.repository, Ref: ref, Old: c.Old, New: c.Commit}
	if s.Repeated, err = r.o.Store.TransitionSeen(ctx, asked); err != nil {
		return s, autobuild.Commit{}, err
	}
	head, err := heads.resolve(ctx, ref)
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
	s.Exists = commit.Hash == s.New
	return s, commit, err
}

func (r *round) stateOf(ctx context.Context, ref autobuild.Ref) (autobuild.RefState, error) {
	if state, ok := r.known[ref]; ok {
		return state, nil
	}
	state, err := r.o.Store.RefState(ctx, r.repository, ref)
	if errors.Is(err, autobuild.ErrNotFound) {
		return autobuild.RefState{}, nil
	}
	return state, err
}

// store writes the plan, in one transaction, and asks for a poll where a ref is left behind.
func (r *round) store(ctx context.Context) error {
	if !r.settled {
		r.settleLater(r.hook.ID)
	}
	r.plan.Repository = r.repository
	builds, err := r.o.Store.Plan(ctx, r.plan)
	if err != nil {
		return fmt.Errorf("store the plan for %s: %w", r.repository.FullName, err)
	}
	if r.plan.DeliveryID != "" {
		r.tellAnswer(ctx, r.plan.State, r.plan.Reason)
	}
	for _, b := range builds {
		trail.Log(trail.Build(ctx, b), r.o.Log).Infof("build of %s %s at %s queued", b.Repository.FullName, b.Ref.Full(), short(b.Commit.Hash))
	}
	return nil
}

// summary says in one line what a delivery came to.
func summary(p autobuild.Plan) (autobuild.DeliveryState, string) {
	builds := 0
	for _, m := range p.Moves {
		builds += len(m.Builds)
	}
	switch {
	case builds > 0:
		return autobuild.DeliveryPlanned, plural(builds, "build")
	case len(p.Moves) > 0:
		return autobuild.DeliveryPlanned, "no rule builds this"
	case len(p.Refused) == 1:
		return autobuild.DeliveryIgnored, p.Refused[0].Refused
	}
	return autobuild.DeliveryIgnored, fmt.Sprintf("none of its %s is news", plural(len(p.Refused), "change"))
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
