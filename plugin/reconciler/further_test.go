package reconciler

import (
	"context"
	"fmt"
	"testing"

	"slipway/plugin/autobuild"
)

// single returns the refs of a repository one by one.
type single struct {
	autobuild.Commits
	heads map[autobuild.Ref]autobuild.Commit
}

func (s single) Resolve(_ context.Context, _ autobuild.Repository, ref autobuild.Ref) (autobuild.Commit, error) {
	if commit, ok := s.heads[ref]; ok {
		return commit, nil
	}
	return autobuild.Commit{}, autobuild.ErrNotFound
}

// A list may show more refs than one poll requests. If none of those requested differs, a further poll
// soon after would only send the same requests again.
func TestAFurtherPollNeedsProgress(t *testing.T) {
	all := single{heads: map[autobuild.Ref]autobuild.Commit{}}
	d := differences{}
	for i := range maxConfirmed + 20 {
		ref := autobuild.Ref{Kind: autobuild.Tag, Name: fmt.Sprintf("v%03d", i)}
		all.heads[ref] = autobuild.Commit{Hash: "a"}
		d.shown = append(d.shown, autobuild.MissedPush{Ref: ref, Head: all.heads[ref]})
	}
	for name, tt := range map[string]struct {
		commits autobuild.Commits
		missed  int
		more    bool
	}{
		"refs that exist":        {all, maxConfirmed, true},
		"refs that do not exist": {single{}, 0, false},
	} {
		p := &poll{}
		if got := len(p.confirm(t.Context(), tt.commits, d)); got != tt.missed {
			t.Errorf("%s: got %d confirmed, want %d", name, got, tt.missed)
		}
		if p.more != tt.more {
			t.Errorf("%s: got a further poll %t, want %t", name, p.more, tt.more)
		}
	}
}
