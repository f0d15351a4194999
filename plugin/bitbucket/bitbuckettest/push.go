package bitbuckettest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// maxPushCommits is the maximum number of commits in a change of a webhook.
const maxPushCommits = 5

// A change is the change of one ref by a push. before is nil if the ref was created, and after is nil if
// it was deleted.
type change struct{ before, after *ref }

// push runs f, which changes refs, with an exclusive lock on the repository. It then queues one webhook
// delivery with all changed refs. During push the server is not idle.
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
	// Report changed refs even if the client has gone or f failed after some changes.
	if err := s.reportPush(context.WithoutCancel(ctx), r, by, before); err != nil {
		return fmt.Errorf("report a push to %s: %w", r.FullName(), err)
	}
	return failed
}

// reportPush compares the refs with those before the push, and queues a delivery if any changed.
func (s *Server) reportPush(ctx context.Context, r *Repository, by *User, before []ref) error {
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

// compareRefs returns the changed refs, sorted by name, branches before tags.
func compareRefs(before, after []ref) []change {
	byName := map[string]change{}
	for _, one := range before {
		byName[one.name] = change{before: &one}
	}
	for _, one := range after {
		old := byName[one.name].before
		if old != nil && old.object == one.object {
			delete(byName, one.name)
			continue
		}
		byName[one.name] = change{before: old, after: &one}
	}
	var changes []change
	for _, name := range slices.Sorted(maps.Keys(byName)) { // refs/heads/ sorts before refs/tags/
		changes = append(changes, byName[name])
	}
	return changes
}

// pushPayload returns the body of repo:push:
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
		return nil, fmt.Errorf("encode the payload of a push: %w", err)
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
		if err != nil && !isGitError(err) {
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

// pushedCommits returns the newest commits of a push to a branch. For a new branch it returns the last
// commits even if another branch has them, as Bitbucket does.
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
