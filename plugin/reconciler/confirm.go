package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"slipway/plugin/autobuild"
)

const (
	// maxConfirmed is the maximum number of refs that one poll requests by themselves. A further poll
	// requests the others.
	maxConfirmed = 100
	// maxSuspicious is the maximum number of refs that one poll requests because a suspicious list
	// lacks them. After a real deletion of many refs, several polls find it.
	maxSuspicious = 10
	// A list is suspicious if it lacks at least minMissing of the known refs of one kind, and at least
	// half of them. An empty page with status 200 looks so.
	minMissing = 5
	// maxFailures is the number of requests in a row that find the provider unavailable, after which a
	// poll sends no more. Fewer may be the fault of single refs.
	maxFailures = 3
	// maxUnread is the number of polls in a row that could not request a ref, after which builds of a restored backup
	// wait no longer. Failed polls are a minute apart.
	maxUnread = 5
)

// differences are the refs whose entry in a list differs from the stored state. A list is no evidence:
// its pages show different times, and a page can be empty or repeated.
type differences struct {
	shown   []autobuild.MissedPush // with the commit of the list; oldest commits first
	missing []autobuild.MissedPush // stored refs that the list lacks; by name
	known   map[autobuild.RefKind]int
}

// compareRefs compares the stored refs with a list of the provider's refs.
func compareRefs(known map[autobuild.Ref]autobuild.RefState, heads []autobuild.Head) differences {
	d := differences{known: map[autobuild.RefKind]int{}}
	listed := autobuild.HeadsByRef(heads)
	for ref, head := range listed {
		if known[ref].Head != head.Hash {
			d.shown = append(d.shown, autobuild.MissedPush{Ref: ref, Known: known[ref], Head: head})
		}
	}
	for ref, state := range known {
		if state.Head == "" {
			continue
		}
		d.known[ref.Kind]++
		if _, exists := listed[ref]; !exists {
			d.missing = append(d.missing, autobuild.MissedPush{Ref: ref, Known: state})
		}
	}
	slices.SortFunc(d.shown, byAge)
	slices.SortFunc(d.missing, byAge)
	return d
}

// byAge orders refs by the dates of their commits, and then by name.
func byAge(a, b autobuild.MissedPush) int {
	return cmp.Or(a.Head.Date.Compare(b.Head.Date), cmp.Compare(a.Ref.Full(), b.Ref.Full()))
}

// suspicious returns the kind of refs of which the list lacks so many that the list itself may be
// wrong. It returns "" if there is none.
func (d differences) suspicious() (kind autobuild.RefKind, missing int) {
	for _, kind := range []autobuild.RefKind{autobuild.Branch, autobuild.Tag} {
		n := 0
		for _, m := range d.missing {
			if m.Ref.Kind == kind {
				n++
			}
		}
		if n >= minMissing && 2*n >= d.known[kind] {
			return kind, n
		}
	}
	return "", 0
}

// confirm requests each ref that differs, and returns those that differ indeed. A ref counts as
// deleted only if the list lacks it and the request for it returned 404. Of the refs that a suspicious list lacks, it
// requests a random few: the others come in later polls. If there are too many refs for one poll, those that
// earlier polls requested in vain are the last.
func (p *poll) confirm(ctx context.Context, commits autobuild.Commits, d differences) []autobuild.MissedPush {
	p.inVain = map[autobuild.Ref]error{}
	order := p.turns.of(p.hook.ID, d)
	missing := d.missing
	kind, lacking := d.suspicious()
	if kind != "" {
		//nolint:gosec // spreads the requests; not used for security
		rand.Shuffle(len(missing), func(i, j int) { missing[i], missing[j] = missing[j], missing[i] })
		slices.SortStableFunc(missing, order.compare)
		missing = missing[:min(len(missing), maxSuspicious)]
	}
	chosen := slices.Concat(d.shown, missing)
	slices.SortStableFunc(chosen, order.compare)
	if len(chosen) > maxConfirmed {
		p.more = order[chosen[maxConfirmed].Ref].poll == 0
		chosen, p.left = chosen[:maxConfirmed], slices.Clone(chosen[maxConfirmed:])
	}
	confirmed := p.request(ctx, commits, chosen)
	p.skipped = slices.ContainsFunc(p.left, func(m autobuild.MissedPush) bool { return order[m.Ref].poll == 0 })
	p.unread = unreadRefs(order, p.inVain, confirmed)
	p.turns.add(p.hook.ID, p.inVain)
	if kind != "" {
		requested, deleted := lackedBy(missing, chosen), lackedBy(missing, confirmed)
		p.problem = fmt.Sprintf(
			"The last list of %s has %d of %d known ones. Of the others, %d were requested one by one, "+
				"and %d are deleted or moved. The rest is taken to exist.",
			plural(kind),
			d.known[kind]-lacking,
			d.known[kind],
			requested,
			deleted,
		)
	}
	slices.SortFunc(confirmed, byAge)
	return confirmed
}

// unreadRefs returns the errors of the refs whose last request failed: of those that earlier polls requested in vain,
// and of those of this poll.
func unreadRefs(
	earlier turnOrder, inVain map[autobuild.Ref]error, confirmed []autobuild.MissedPush,
) map[autobuild.Ref]error {
	unread := map[autobuild.Ref]error{}
	for ref, turn := range earlier {
		unread[ref] = turn.err
	}
	maps.Copy(unread, inVain)
	for _, m := range confirmed {
		delete(unread, m.Ref)
	}
	maps.DeleteFunc(unread, func(_ autobuild.Ref, err error) bool { return err == nil })
	return unread
}

// lackedBy returns the number of refs that are among the missing ones.
func lackedBy(missing, refs []autobuild.MissedPush) (n int) {
	for _, m := range refs {
		if slices.ContainsFunc(missing, func(one autobuild.MissedPush) bool { return one.Ref == m.Ref }) {
			n++
		}
	}
	return n
}

func plural(kind autobuild.RefKind) string {
	if kind == autobuild.Branch {
		return "branches"
	}
	return "tags"
}

// request requests refs one by one, and returns those whose state is not the stored one. It stores the
// error of a ref, and goes on unless the next request would probably fail, too. If the list shows a ref that
// returns 404, a later list must lack it before it counts as deleted.
func (p *poll) request(
	ctx context.Context, commits autobuild.Commits, refs []autobuild.MissedPush,
) []autobuild.MissedPush {
	var confirmed []autobuild.MissedPush
	for i, m := range refs {
		if isRefusal(p.err) || p.failures >= maxFailures || ctx.Err() != nil {
			p.left = append(p.left, refs[i:]...)
			break
		}
		head, err := commits.Resolve(ctx, p.hook.Repository, m.Ref)
		if err != nil && !errors.Is(err, autobuild.ErrNotFound) {
			p.err = fmt.Errorf("%s: %w", m.Ref.Full(), err)
			if errors.Is(err, autobuild.ErrUnavailable) {
				p.failures++
			}
			p.inVain[m.Ref] = p.err
			continue
		}
		p.failures = 0
		if head.Hash == m.Known.Head || head.Hash == "" && m.Head.Hash != "" {
			p.inVain[m.Ref] = nil
			continue
		}
		confirmed = append(confirmed, autobuild.MissedPush{Ref: m.Ref, Known: m.Known, Head: head})
	}
	return confirmed
}

// isRefusal reports whether the provider refuses every request to the repository.
func isRefusal(err error) bool {
	var limited *autobuild.RateLimitError
	return errors.As(err, &limited) || errors.Is(err, autobuild.ErrUnauthorized) ||
		errors.Is(err, autobuild.ErrForbidden)
}

// reportListing logs a suspicious list of refs, and stores it for the repository's page.
func (p *poll) reportListing(ctx context.Context) error {
	if p.problem != "" {
		p.o.Log.WithField("hook", p.hook.ID).Warnf("%s: suspicious list of refs: %s", p.hook.Repository.FullName,
			p.problem)
	}
	if p.problem == p.hook.ListingProblem {
		return nil
	}
	if err := p.o.Store.SetListingProblem(ctx, p.hook.ID, p.problem); err != nil {
		return fmt.Errorf("store the list of refs of %s: %w", p.hook.Repository.FullName, err)
	}
	return nil
}
