package bitbuckettest

import "slices"

// getOtherUser returns a user by UUID or account ID. Names find nobody since 2019:
// https://developer.atlassian.com/cloud/bitbucket/bitbucket-api-changes-gdpr/.
func (s *Server) getOtherUser(c *call) error {
	id := c.r.PathValue("user")
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.state.users, func(u *User) bool { return u.UUID == id || u.AccountID == id })
	if i < 0 {
		return notFound(id)
	}
	shown := s.showUser(s.state.users[i])
	shown["created_on"] = precise(s.state.users[i].createdOn)
	shown["account_status"], shown["is_staff"] = "active", false
	return c.respond(shown)
}

// listMembers lists the people of a workspace with their role: owner, collaborator or member. Without
// roles, it lists only people.
func (s *Server) listMembers(roles bool) handler {
	return func(c *call) error {
		w, err := s.workspaceOf(c)
		if err != nil {
			return err
		}
		s.mu.Lock()
		items := []object{}
		for _, u := range s.state.users {
			role := s.roleIn(principal{account: u}, w)
			if role == "" {
				continue
			}
			item := object{"type": "workspace_membership", "user": s.showUser(u), "workspace": s.showWorkspace(w)}
			if roles {
				item["permission"] = role
			}
			items = append(items, item)
		}
		s.mu.Unlock()
		return s.writePage(c, items)
	}
}

// listPermissions lists the permissions of all people on the repositories of a workspace, or on one of
// them. Only administrators of the workspace may list them.
func (s *Server) listPermissions(c *call) error {
	w, err := s.workspaceOf(c)
	if err != nil {
		return err
	}
	slug := c.r.PathValue("slug")
	s.mu.Lock()
	if s.roleIn(c.who, w) != "owner" {
		s.mu.Unlock()
		return forbidden("You must be an admin of this workspace.")
	}
	items := []object{}
	for _, r := range s.state.repositories {
		if r.Workspace != w || slug != "" && slug != r.slug && slug != r.UUID {
			continue
		}
		for _, u := range s.state.users {
			granted := s.grantedLocked(principal{account: u}, r)
			if granted == None {
				continue
			}
			items = append(items, object{
				"type": "repository_permission", "permission": granted.String(), "user": s.showUser(u),
				"repository": object{
					"type": "repository", "uuid": r.UUID, "full_name": r.fullName(), "name": r.slug,
					"links": s.repositoryLinks(r),
				},
			})
		}
	}
	s.mu.Unlock()
	return s.writePage(c, items)
}

// listProjects lists the projects of a workspace: those of its repositories.
func (s *Server) listProjects(c *call) error {
	w, err := s.workspaceOf(c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	items := []object{}
	seen := map[string]bool{}
	for _, r := range s.state.repositories {
		if r.Workspace == w && !seen[r.projectKey] {
			seen[r.projectKey] = true
			items = append(items, s.showProject(r))
		}
	}
	s.mu.Unlock()
	return s.writePage(c, items)
}

func (s *Server) showProject(r *Repository) object {
	return object{
		"type": "project", "key": r.projectKey, "name": r.projectKey,
		"links": object{"self": link(s.url + "/2.0/workspaces/" + r.Workspace.Slug + "/projects/" + r.projectKey)},
	}
}
