package provider

import (
	"context"

	"slipway/plugin/autobuild"
)

// maxListings bounds the listings of StableHeads.
const maxListings = 4

// StableHeads lists all branches and tags until two listings in a row have the same refs, at most
// four times. It returns the refs of all listings, each at its commit in the last listing that has
// it. The order is not defined.
//
// Use it for a baseline. If a ref is deleted between two pages, the provider moves another ref to a
// page that was read already, so that one listing lacks it. The next poll would then take it for a
// new ref.
func StableHeads(
	ctx context.Context, commits autobuild.Commits, r autobuild.Repository,
) ([]autobuild.Head, error) {
	all := map[autobuild.Ref]autobuild.Commit{}
	var before map[autobuild.Ref]autobuild.Commit
	for range maxListings {
		heads, err := commits.Heads(ctx, r)
		if err != nil {
			return nil, err
		}
		listed := autobuild.HeadsByRef(heads)
		for ref, commit := range listed {
			all[ref] = commit
		}
		if before != nil && sameRefs(before, listed) {
			break
		}
		before = listed
	}
	heads := make([]autobuild.Head, 0, len(all))
	for ref, commit := range all {
		heads = append(heads, autobuild.Head{Ref: ref, Commit: commit})
	}
	return heads, nil
}

func sameRefs(a, b map[autobuild.Ref]autobuild.Commit) bool {
	for ref := range a {
		if _, ok := b[ref]; !ok {
			return false
		}
	}
	return len(a) == len(b)
}
