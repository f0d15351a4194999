package reconciler

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"slipway/plugin/autobuild"
)

// single returns the refs of a repository one by one. It fails for some.
type single struct {
	autobuild.Commits
	heads map[autobuild.Ref]autobuild.Commit
	fails map[autobuild.Ref]bool
}

func (s single) Resolve(_ context.Context, _ autobuild.Repository, ref autobuild.Ref) (autobuild.Commit, error) {
	if commit, ok := s.heads[ref]; ok {
		return commit, nil
	}
	if s.fails[ref] {
		return autobuild.Commit{}, autobuild.ErrUnavailable
	}
	return autobuild.Commit{}, autobuild.ErrNotFound
}

// A list may show more refs than one poll requests. A further poll soon after requests the others. If every ref
// was requested in vain, it would only send the same requests again.
func TestAFurtherPollRequestsOtherRefs(t *testing.T) {
	all := single{heads: map[autobuild.Ref]autobuild.Commit{}}
	d := differences{}
	for i := range maxConfirmed + 20 {
		ref := autobuild.Ref{Kind: autobuild.Tag, Name: fmt.Sprintf("v%03d", i)}
		all.heads[ref] = autobuild.Commit{Hash: "a"}
		d.shown = append(d.shown, autobuild.MissedPush{Ref: ref, Head: all.heads[ref]})
	}
	type result struct {
		missed int
		more   bool
	}
	for name, tt := range map[string]struct {
		commits autobuild.Commits
		want    []result
	}{
		"refs that exist":        {all, []result{{maxConfirmed, true}}},
		"refs that do not exist": {single{}, []result{{0, true}, {0, false}, {0, false}}},
	} {
		r := New(Options{})
		for i, want := range tt.want {
			p := &poll{Reconciler: r}
			missed := p.confirm(t.Context(), tt.commits, d)
			if got := (result{len(missed), p.more}); got != want {
				t.Errorf("%s, poll %d: got %+v, want %+v", name, i+1, got, want)
			}
		}
	}
}

// Unread are the refs whose own last request failed, in this poll or an earlier one, and no others: neither those that
// were read nor those that this poll did not request. Each has its own error.
func TestUnreadAreTheRefsWhoseRequestFailed(t *testing.T) {
	commits := single{heads: map[autobuild.Ref]autobuild.Commit{}, fails: map[autobuild.Ref]bool{}}
	d := differences{known: map[autobuild.RefKind]int{autobuild.Tag: 10_000}} // no list is suspicious
	add := func(name string) autobuild.Ref {
		ref := autobuild.Ref{Kind: autobuild.Tag, Name: name}
		d.shown = append(d.shown, autobuild.MissedPush{Ref: ref, Head: autobuild.Commit{Hash: "a"}})
		return ref
	}
	var failing []autobuild.Ref
	for i := range maxConfirmed + 20 {
		ref := add(fmt.Sprintf("v%03d", i))
		if i == 3 || i == maxConfirmed+3 {
			commits.fails[ref] = true
			failing = append(failing, ref)
		}
	}
	r := New(Options{})
	for i, want := range [][]autobuild.Ref{failing[:1], failing, failing} {
		p := &poll{Reconciler: r}
		p.confirm(t.Context(), commits, d)
		if len(p.unread) != len(want) {
			t.Errorf("poll %d: got unread refs %v, want %v", i+1, p.unread, want)
		}
		for _, ref := range want {
			if err := p.unread[ref]; err == nil || !strings.Contains(err.Error(), ref.Full()) {
				t.Errorf("poll %d, %s: got error %v, want its own", i+1, ref.Name, err)
			}
		}
	}
	clear(commits.fails)
	commits.heads[failing[0]] = autobuild.Commit{Hash: "a"}
	for range 2 {
		p := &poll{Reconciler: r}
		p.confirm(t.Context(), commits, d)
		if got := p.unread[failing[0]]; got != nil {
			t.Errorf("a ref that was read again: got error %v, want none", got)
		}
		d.shown = slices.DeleteFunc(d.shown, func(m autobuild.MissedPush) bool { return m.Ref == failing[0] })
	}
}

// Refs that polls request in vain, however many there are, delay no push and no deletion: refs that only the list
// shows, refs that only the list lacks, and refs for which the provider fails.
func TestRefsRequestedInVainDelayNoOthers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		commits := single{heads: map[autobuild.Ref]autobuild.Commit{}, fails: map[autobuild.Ref]bool{}}
		d := differences{known: map[autobuild.RefKind]int{autobuild.Tag: 10_000}} // no list is suspicious
		add := func(kind string, most int, each func(ref autobuild.Ref)) int {
			n := rapid.IntRange(0, most).Draw(t, kind)
			for i := range n {
				each(autobuild.Ref{Kind: autobuild.Tag, Name: fmt.Sprintf("%s%03d", kind, i)})
			}
			return n
		}
		a, b := autobuild.Commit{Hash: "a"}, autobuild.Commit{Hash: "b"}
		vain := add("absent", 250, func(ref autobuild.Ref) {
			d.shown = append(d.shown, autobuild.MissedPush{Ref: ref, Head: a})
		})
		vain += add("hidden", 250, func(ref autobuild.Ref) {
			commits.heads[ref] = a
			d.missing = append(d.missing, autobuild.MissedPush{Ref: ref, Known: autobuild.RefState{Head: "a"}})
		})
		failing := add("failing", 12, func(ref autobuild.Ref) {
			commits.fails[ref] = true
			d.shown = append(d.shown, autobuild.MissedPush{Ref: ref, Head: a})
		})
		// Every poll requests 100 further refs, or finds 3 further ones failing.
		polls := (vain+failing)/maxConfirmed + failing/maxFailures + 2
		r := New(Options{})
		tried := rapid.Bool().Draw(t, "the others come later")
		if tried {
			for range polls {
				(&poll{Reconciler: r}).confirm(t.Context(), commits, d)
			}
			polls = 1
		}
		d.shown, d.missing = slices.Clone(d.shown), slices.Clone(d.missing)
		pushed := autobuild.Ref{Kind: autobuild.Tag, Name: rapid.SampledFrom([]string{"a", "z"}).Draw(t, "pushed")}
		deleted := autobuild.Ref{Kind: autobuild.Tag, Name: "z-deleted"}
		commits.heads[pushed] = b
		d.shown = append(d.shown, autobuild.MissedPush{Ref: pushed, Head: b})
		d.missing = append(d.missing, autobuild.MissedPush{Ref: deleted, Known: autobuild.RefState{Head: "a"}})
		found := map[autobuild.Ref]string{}
		for range polls {
			for _, m := range (&poll{Reconciler: r}).confirm(t.Context(), commits, d) {
				found[m.Ref] = m.Head.Hash
			}
		}
		if want := map[autobuild.Ref]string{pushed: "b", deleted: ""}; !maps.Equal(found, want) {
			t.Errorf("found in %d polls: got %v, want %v", polls, found, want)
		}
	})
}
