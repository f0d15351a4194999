package bitbuckettest

import (
	"context"
	"net/http"
	"strings"
)

// findRepository returns the repository with a workspace and a slug, each a name or a UUID, or nil.
func (s *Server) findRepository(workspace, slug string) *Repository {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.state.repositories {
		if r.Workspace.named(workspace) && (strings.EqualFold(r.slug, slug) || r.UUID == slug) {
			return r
		}
	}
	return nil
}

func (w *Workspace) named(name string) bool { return strings.EqualFold(w.Slug, name) || w.UUID == name }

func (s *Server) getRepository(c *call) error {
	return c.respond(s.showRepository(c.r.Context(), c.repo))
}

// listRepositories lists the repositories of a workspace that the caller can see, or has a role in.
func (s *Server) listRepositories(c *call) error {
	roles := map[string]Permission{"": Read, "member": Read, "contributor": Write, "admin": Admin, "owner": Admin}
	least, known := roles[c.r.URL.Query().Get("role")]
	if !known {
		return badRequest("Invalid role")
	}
	workspace := s.findWorkspace(c.r.PathValue("workspace"))
	if workspace == nil {
		return noWorkspace(c.r.PathValue("workspace"))
	}
	items := []object{}
	for _, r := range s.repositoriesOf(workspace, c.who, least) {
		items = append(items, s.showRepository(c.r.Context(), r))
	}
	return s.writePage(c, items)
}

func (s *Server) repositoriesOf(w *Workspace, who principal, least Permission) []*Repository {
	s.mu.Lock()
	defer s.mu.Unlock()
	var seen []*Repository
	for _, r := range s.state.repositories {
		if r.Workspace == w && s.permissionLocked(who, r) >= least {
			seen = append(seen, r)
		}
	}
	return seen
}

// listRepositoryPermissions lists the repositories of a workspace with the caller's granted permission.
// Public read access is not a granted permission.
func (s *Server) listRepositoryPermissions(c *call) error {
	workspace, err := s.workspaceOf(c)
	if err != nil {
		return err
	}
	items := []object{}
	for _, r := range s.repositoriesOf(workspace, c.who, Read) {
		granted := s.grantedTo(c.who, r)
		if granted == None {
			continue
		}
		repository := s.showRepositoryLink(r)
		repository["slug"] = r.slug // Drone filters by it
		items = append(items, object{
			"type": "repository_permission", "permission": granted.String(),
			"repository": repository, "user": s.showAccount(c.who.account),
		})
	}
	return s.writePage(c, items)
}

func (s *Server) showRepository(ctx context.Context, r *Repository) object {
	branch := s.mainBranch(ctx, r)
	shown := s.showRepositoryInPayload(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	shown["slug"] = r.slug
	shown["description"] = ""
	shown["language"] = ""
	shown["has_issues"], shown["has_wiki"] = false, false
	shown["fork_policy"] = "allow_forks"
	if r.private {
		shown["fork_policy"] = "no_public_forks"
	}
	shown["created_on"], shown["updated_on"] = precise(r.createdOn), precise(r.updatedOn)
	shown["mainbranch"] = nil // for an empty repository
	if branch != "" {
		shown["mainbranch"] = object{"type": "branch", "name": branch}
	}
	links := shown["links"].(object)
	for name, path := range map[string]string{
		"commits": "/commits", "branches": "/refs/branches", "tags": "/refs/tags", "hooks": "/hooks", "source": "/src",
	} {
		links[name] = link(s.repositoryAPI(r) + path)
	}
	// Bitbucket adds the caller's name to the URL. Clients must remove it.
	scheme, rest, _ := strings.Cut(s.url, "://")
	links["clone"] = []object{
		{"name": "https", "href": scheme + "://" + r.Workspace.Owner.Name + "@" + rest + "/" + r.fullName() + ".git"},
		{"name": "ssh", "href": "git@bitbucket.org:" + r.fullName() + ".git"},
	}
	return shown
}

// showRepositoryInPayload returns the repository in the form of webhooks.
func (s *Server) showRepositoryInPayload(r *Repository) object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return object{
		"type": "repository", "uuid": r.UUID, "full_name": r.fullName(), "name": r.slug, "scm": "git", "website": nil,
		"is_private": r.private, "owner": s.showUser(r.Workspace.Owner), "workspace": s.showNamedWorkspace(r.Workspace),
		"project": s.showProject(r), "links": s.repositoryLinks(r),
	}
}

func (s *Server) showRepositoryLink(r *Repository) object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return object{
		"type":      "repository",
		"uuid":      r.UUID,
		"full_name": r.fullName(),
		"name":      r.slug,
		"links":     s.repositoryLinks(r),
	}
}

func (s *Server) repositoryLinks(r *Repository) object {
	return object{
		"self":   link(s.repositoryAPI(r)),
		"html":   link(s.repositoryPage(r)),
		"avatar": link(s.url + "/ravatar/" + escape(r.UUID)),
	}
}

func (s *Server) repositoryAPI(r *Repository) string {
	return s.url + "/2.0/repositories/" + r.fullName()
}

func (s *Server) repositoryPage(r *Repository) string { return s.url + "/" + r.fullName() }

func noWorkspace(name string) error {
	return &apiError{status: http.StatusNotFound, message: "No workspace with identifier '" + name + "'."}
}
