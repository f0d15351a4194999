package bitbuckettest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// maxPushCommits is how many commits a change of a webhook lists.
const maxPushCommits = 5

// A change is one ref that a push moved; before is nil when it made the ref, after when it
// deleted it.
type change struct{ before, after *ref }

// push runs f, which moves refs, alone on the repository, and queues one webhook about every
// ref that then is another. The server is not idle from before f on.
func (s *Server) push(ctx context.Context, r *Repository, by *User, f func() error) error {
	done := s.courier.begin()
	defer done()
	r.pushing.Lock()
	defer r.pushing.Unlock()

	before, err := s.refs(ctx, r, branchPrefix, tagPrefix)
	if err != nil {
		return err
	}
	failed := f()
	// The client may be gone, or f may have failed half-way: what moved is told all the same.
	if err := s.tell(context.WithoutCancel(ctx), r, by, before); err != nil {
		return fmt.Errorf("tell of a push to %s: %w", r.FullName(), err)
	}
	return failed
}

func (s *Server) tell(ctx context.Context, r *Repository, by *User, before []ref) error {
	after, err := s.refs(ctx, r, branchPrefix, tagPrefix)
	if err != nil {
		return err
	}
	changes := compareRefs(before, after)
	if len(changes) == 0 {
		return nil
	}
	if err := s.chooseMainBranch(ctx, r, after); err != nil {
		return err
	}
	s.mu.Lock()
	r.updatedOn = s.now()
	s.mu.Unlock()
	body, err := s.pushPayload(ctx, r, by, changes)
	if err != nil {
		return err
	}
	s.deliver(r, "repo:push", body)
	return nil
}

// compareRefs returns what differs, branches before tags, each in the order of their names.
func compareRefs(before, after []ref) []change {
	byName := map[string]change{}
	for _, one := range before {
		byName[one.name] = change{before: &one}
	}
	for _, one := range after {
		was := byName[one.name].before
		if was != nil && was.object == one.object {
			delete(byName, one.name)
			continue
		}
		byName[one.name] = change{before: was, after: &one}
	}
	var changes []change
	for _, name := range slices.Sorted(maps.Keys(byName)) { // refs/heads/ sorts before refs/tags/
		changes = append(changes, byName[name])
	}
	return changes
}

// pushPayload writes the body of repo:push:
// https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/#Push
func (s *Server) pushPayload(ctx context.Context, r *Repository, by *User, changes []change) ([]byte, error) {
	shown := make([]object, len(changes))
	for i, c := range changes {
		var err error
		if shown[i], err = s.showChange(ctx, r, c); err != nil {
			return nil, err
		}
	}
	body, err := json.Marshal(object{
		"push":       object{"changes": shown},
		"repository": s.showRepositoryInPayload(r),
		"actor":      s.showAccount(by),
	})
	if err != nil {
		return nil, fmt.Errorf("write the payload of a push: %w", err)
	}
	return body, nil
}

func (s *Server) showChange(ctx context.Context, r *Repository, c change) (object, error) {
	shown := object{
		"old": nil, "new": nil, "created": c.before == nil, "closed": c.after == nil,
		"forced": false, "truncated": false,
	}
	for key, one := range map[string]*ref{"old": c.before, "new": c.after} {
		if one == nil {
			continue
		}
		refs, err := s.showRefs(ctx, r, []ref{*one})
		if err != nil {
			return nil, err
		}
		shown[key] = refs[0]
	}
	if c.after == nil {
		return shown, nil // deletions have neither commits nor links
	}
	shown["links"] = s.changeLinks(r, c)
	if c.before != nil {
		_, err := s.git.run(ctx, r.dir, "merge-base", "--is-ancestor", c.before.commit, c.after.commit)
		if err != nil && !refused(err) {
			return nil, err
		}
		shown["forced"] = err != nil
	}
	if c.after.isTag() {
		return shown, nil // tags never have commits
	}
	commits, truncated, err := s.pushedCommits(ctx, r, c)
	shown["commits"], shown["truncated"] = commits, truncated
	return shown, err
}

// pushedCommits returns the newest commits of a branch. Of a new branch they are its last
// ones, even where another branch has them already, as Bitbucket sends it.
func (s *Server) pushedCommits(ctx context.Context, r *Repository, c change) ([]object, bool, error) {
	args := []string{"rev-list", fmt.Sprintf("--max-count=%d", maxPushCommits+1), c.after.commit}
	if c.before != nil {
		args = append(args, "^"+c.before.commit)
	}
	out, err := s.git.run(ctx, r.dir, args...)
	if err != nil {
		return nil, false, err
	}
	hashes := strings.Fields(out)
	truncated := len(hashes) > maxPushCommits
	if truncated {
		hashes = hashes[:maxPushCommits]
	}
	commits, err := s.commits(ctx, r, hashes...)
	return s.showCommits(r, commits, wholeCommit), truncated, err
}

func (s *Server) changeLinks(r *Repository, c change) object {
	s.mu.Lock()
	defer s.mu.Unlock()
	api, page := s.repositoryAPI(r), s.repositoryPage(r)
	if c.before != nil {
		span := c.after.commit + ".." + c.before.commit
		return object{
			"commits": link(api + "/commits?include=" + c.after.commit + "&exclude=" + c.before.commit),
			"html":    link(page + "/branches/compare/" + span),
			"diff":    link(api + "/diff/" + span),
		}
	}
	links := object{"commits": link(api + "/commits?include=" + c.after.commit)}
	if !c.after.isTag() {
		links["html"] = link(page + "/branch/" + c.after.short())
	}
	return links
}
