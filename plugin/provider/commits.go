package provider

import (
	"context"
	"errors"
	"fmt"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket"
	"slipway/plugin/bitbucket/cloud"
)

type commits struct{ *connection }

var _ autobuild.Commits = commits{}

// Resolve returns the current head commit of a ref. It returns ErrNotFound for a deleted ref and
// ErrForbidden if the account no longer sees the repository. Cloud returns 404 in both cases, so
// Resolve also requests the repository after a 404.
func (p commits) Resolve(ctx context.Context, r autobuild.Repository, ref autobuild.Ref) (autobuild.Commit, error) {
	id, err := address(r)
	if err != nil {
		return autobuild.Commit{}, err
	}
	found, err := p.ref(ctx, id, ref)
	if errors.Is(err, bitbucket.ErrNotFound) {
		if _, gone := p.Client.Repository(ctx, id); gone != nil {
			return autobuild.Commit{}, invisibleError(r, gone)
		}
	}
	if err != nil {
		return autobuild.Commit{}, Translate(err)
	}
	return autobuild.Commit(found.Commit), nil
}

func (p commits) ref(ctx context.Context, id cloud.RepositoryID, ref autobuild.Ref) (cloud.Ref, error) {
	switch ref.Kind {
	case autobuild.Branch:
		return p.Client.Branch(ctx, id, ref.Name)
	case autobuild.Tag:
		return p.Client.Tag(ctx, id, ref.Name)
	default:
		return cloud.Ref{}, fmt.Errorf("resolve %q: a %s is not a ref", ref.Name, ref.Kind)
	}
}

// invisibleError converts the error of a repository that the account cannot see.
func invisibleError(r autobuild.Repository, err error) error {
	if errors.Is(err, bitbucket.ErrNotFound) {
		const format = "repository %s: %w: the linked account cannot see it: it was deleted, or the account lost access"
		return fmt.Errorf(format, r.FullName, autobuild.ErrForbidden)
	}
	return Translate(err)
}

// Commit returns a commit by hash.
func (p commits) Commit(ctx context.Context, r autobuild.Repository, hash string) (autobuild.Commit, error) {
	id, err := address(r)
	if err != nil {
		return autobuild.Commit{}, err
	}
	commit, err := p.Client.Commit(ctx, id, hash)
	return autobuild.Commit(commit), Translate(err)
}

// Heads returns all branches and tags, or an error. It returns each ref once. If the repository
// changes between two pages, a ref can be missing, and its commit is that of the last page with it.
func (p commits) Heads(ctx context.Context, r autobuild.Repository) ([]autobuild.Head, error) {
	id, err := address(r)
	if err != nil {
		return nil, err
	}
	branches, err := p.Client.Branches(ctx, id)
	if err != nil {
		return nil, Translate(err)
	}
	tags, err := p.Client.Tags(ctx, id)
	if err != nil {
		return nil, Translate(err)
	}
	return append(heads(autobuild.Branch, branches), heads(autobuild.Tag, tags)...), nil
}

// heads returns each ref once. A ref is on two pages if the repository changed between them; the
// later page has the newer state.
func heads(kind autobuild.RefKind, refs []cloud.Ref) []autobuild.Head {
	out := make([]autobuild.Head, 0, len(refs))
	index := make(map[string]int, len(refs))
	for _, r := range refs {
		head := autobuild.Head{Ref: autobuild.Ref{Kind: kind, Name: r.Name}, Commit: autobuild.Commit(r.Commit)}
		if i, listed := index[r.Name]; listed {
			out[i] = head
			continue
		}
		index[r.Name] = len(out)
		out = append(out, head)
	}
	return out
}
