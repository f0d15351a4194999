package bitbuckettest

import "strings"

// findWorkspace returns the workspace with a slug or UUID, or nil.
func (s *Server) findWorkspace(name string) *Workspace {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.state.workspaces {
		if w.named(name) {
			return w
		}
	}
	return nil
}

func (s *Server) getUser(c *call) error {
	if c.who.account == nil {
		return errAnonymous
	}
	shown := s.showAccount(c.who.account)
	if c.who.account.kind == "user" {
		shown["username"] = c.who.account.Name // only for the caller: Drone uses it to sign users in
	}
	return c.respond(shown)
}

func (s *Server) listEmails(c *call) error {
	if c.who.account == nil {
		return errAnonymous
	}
	return s.writePage(c, []object{{
		"type": "email", "email": c.who.account.Email, "is_primary": true, "is_confirmed": true,
	}})
}

// listWorkspaces lists the workspaces of the caller. The response does not include their names.
func (s *Server) listWorkspaces(c *call) error {
	if c.who.account == nil {
		return errAnonymous
	}
	items := s.workspacesOf(c.who, c.r.URL.Query().Get("administrator") == "true")
	c.page.sort = strings.Replace(c.page.sort, "slug", "workspace.slug", 1)
	return s.writePage(c, items)
}

func (s *Server) workspacesOf(who principal, administered bool) []object {
	s.mu.Lock()
	defer s.mu.Unlock()
	var items []object
	for _, w := range s.state.workspaces {
		role := s.roleIn(who, w)
		if role == "" || administered && role != "owner" {
			continue
		}
		items = append(items, object{
			"type": "workspace_access", "administrator": role == "owner", "workspace": s.showWorkspace(w),
		})
	}
	return items
}

// roleIn returns "owner", "member" or "".
func (s *Server) roleIn(who principal, w *Workspace) string {
	if who.within != nil {
		if who.within.workspace != w {
			return ""
		}
		return "member"
	}
	if w.Owner == who.account {
		return "owner"
	}
	for _, r := range s.state.repositories {
		if r.Workspace == w && r.members[who.account] > None {
			return "member"
		}
	}
	return ""
}

// workspaceOf returns the workspace in the path, if the caller is a member of it.
func (s *Server) workspaceOf(c *call) (*Workspace, error) {
	if c.who.account == nil {
		return nil, errAnonymous
	}
	name := c.r.PathValue("workspace")
	w := s.findWorkspace(name)
	if w == nil {
		return nil, noWorkspace(name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.roleIn(c.who, w) == "" {
		return nil, noWorkspace(name)
	}
	return w, nil
}

func (s *Server) getWorkspace(c *call) error {
	w, err := s.workspaceOf(c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	shown := s.showNamedWorkspace(w)
	s.mu.Unlock()
	return c.respond(shown)
}

func (s *Server) getWorkspacePermission(c *call) error {
	w, err := s.workspaceOf(c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	shown := object{
		"type": "workspace_membership", "permission": s.roleIn(c.who, w),
		"workspace": s.showWorkspace(w), "user": s.showUser(c.who.account),
	}
	s.mu.Unlock()
	return c.respond(shown)
}

// showWorkspace returns a workspace in the form of lists, without its name.
func (s *Server) showWorkspace(w *Workspace) object {
	return object{
		"type": "workspace", "uuid": w.UUID, "slug": w.Slug,
		"links": object{"self": link(s.url + "/2.0/workspaces/" + w.Slug), "html": link(s.url + "/" + w.Slug + "/")},
	}
}

func (s *Server) showNamedWorkspace(w *Workspace) object {
	shown := s.showWorkspace(w)
	shown["name"] = w.Slug
	return shown
}

func (s *Server) showAccount(u *User) object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.showUser(u)
}

func (s *Server) showUser(u *User) object {
	shown := object{
		"type": u.kind, "uuid": u.UUID, "account_id": u.AccountID, "display_name": u.Name,
		"links": object{
			"self":   link(s.url + "/2.0/users/" + escape(u.UUID)),
			"html":   link(s.url + "/" + escape(u.UUID) + "/"),
			"avatar": link(s.url + "/avatars/" + escape(u.UUID)),
		},
	}
	if u.kind == "user" {
		shown["nickname"] = u.Name
	}
	return shown
}
