package webhook

// pullRequestActions maps the event keys of pull requests to what happened. Data Center's
// old post-webhooks plugin has Cloud's keys.
func pullRequestActions(f Flavour) map[string]Action {
	keys := map[string]Action{
		"pullrequest:created":                 Opened,
		"pullrequest:updated":                 Updated, // new commits, or only a title
		"pullrequest:push":                    Updated,
		"pullrequest:fulfilled":               Closed,
		"pullrequest:merged":                  Closed, // the plugin's
		"pullrequest:rejected":                Closed,
		"pullrequest:declined":                Closed, // the plugin's
		"pullrequest:comment_created":         Commented,
		"pullrequest:comment_updated":         Commented,
		"pullrequest:comment_deleted":         Commented,
		"pullrequest:comment_resolved":        Commented,
		"pullrequest:comment_reopened":        Commented,
		"pullrequest:comment":                 Commented, // the plugin's
		"pullrequest:approved":                Commented,
		"pullrequest:unapproved":              Commented,
		"pullrequest:changes_request_created": Commented,
		"pullrequest:changes_request_removed": Commented,
	}
	if f == Cloud {
		return keys
	}
	for key, action := range map[string]Action{
		"pr:opened":                     Opened,
		"pr:from_ref_updated":           Updated,
		"pr:modified":                   Updated,
		"pr:merged":                     Closed,
		"pr:declined":                   Closed,
		"pr:deleted":                    Closed,
		"pr:comment:added":              Commented,
		"pr:comment:edited":             Commented,
		"pr:comment:deleted":            Commented,
		"pr:reviewer:updated":           Commented,
		"pr:reviewer:approved":          Commented,
		"pr:reviewer:unapproved":        Commented,
		"pr:reviewer:needs_work":        Commented,
		"pr:reviewer:changes_requested": Commented,
	} {
		keys[key] = action
	}
	return keys
}

// pullRequestReader chooses by shape: Cloud has a source, Data Center and its plugin a fromRef.
func pullRequestReader(f Flavour, action Action) func(object, *Event) error {
	return func(root object, e *Event) error {
		pr := root.get("pullrequest")
		if f == DataCenter && !root.get("pullRequest").null() {
			pr = root.get("pullRequest")
		}
		o := pr.object()
		if o.err != nil {
			return o.err
		}
		id, err := o.get("id").digits()
		if err != nil {
			return err
		}
		c := Change{Kind: PullRequest, Name: id, Action: action}
		if f == DataCenter && !o.get("fromRef").null() {
			return readDataCenterPullRequest(root, o, c, e)
		}
		return readCloudPullRequest(root, o, c, e)
	}
}

// readCloudPullRequest reads source and destination. The source's repository and commit are
// null once the fork or the branch is gone.
func readCloudPullRequest(root, pr object, c Change, e *Event) error {
	e.Repository = repositoryOf(root.get("repository"))
	source, target := pr.get("source").object(), pr.get("destination").object()
	if source.err != nil {
		return source.err
	}
	var err error
	if c.Target, err = target.get("branch").object().get("name").text(); err != nil {
		return err
	}
	if c.Commit, err = source.get("commit").object().get("hash").abbreviated(); err != nil {
		return err
	}
	c.Source = source.get("branch").object().get("name").textOrNone()
	c.Fork = !sameRepository(repositoryOf(source.get("repository")), e.Repository)
	e.Changes = append(e.Changes, c)
	return nil
}

// readDataCenterPullRequest reads fromRef, which may be a tag, and toRef. The plugin nests
// commit and branch there.
func readDataCenterPullRequest(root, pr object, c Change, e *Event) error {
	from, to := pr.get("fromRef").object(), pr.get("toRef").object()
	e.Repository = repositoryOf(to.get("repository"))
	var err error
	if c.Target, err = sideName(to); err != nil {
		return err
	}
	commit := from.get("latestCommit")
	if commit.null() {
		commit = from.get("commit").object().get("hash")
	}
	if c.Commit, err = commit.abbreviated(); err != nil {
		return err
	}
	if c.Source, err = sideName(from); err != nil {
		c.Source = ""
	}
	c.Fork = !sameRepository(repositoryOf(from.get("repository")), e.Repository)
	c.Old = root.get("previousFromHash").hashOrNone()
	if onlyTextEdited(root, to) {
		c.Old = c.Commit
	}
	e.Changes = append(e.Changes, c)
	return nil
}

// onlyTextEdited reports that a pr:modified changed no ref: the target is what it was.
func onlyTextEdited(root, to object) bool {
	previous := root.get("previousTarget").object().get("id").textOrNone()
	return previous != "" && previous == to.get("id").textOrNone()
}

// sideName returns the short name of one side's ref.
func sideName(o object) (string, error) {
	id, err := o.get("id").text()
	if err == nil {
		_, name := splitRef(id)
		return name, nil
	}
	for _, n := range []node{o.get("displayId"), o.get("branch").object().get("name")} {
		if name := n.textOrNone(); name != "" {
			return name, nil
		}
	}
	return "", err
}

// sameRepository compares by identity where both sides have one, else by name. A source that
// tells neither is taken for a fork: forks are trusted less.
func sameRepository(a, b Repository) bool {
	switch {
	case a.UUID != "" && b.UUID != "":
		return a.UUID == b.UUID
	case a.ID != "" && b.ID != "":
		return a.ID == b.ID
	}
	return a.FullName != "" && a.FullName == b.FullName
}
