package webhook

// pullRequestActions maps the event keys of pull requests to actions. Data Center's old
// post-webhooks plugin uses Cloud's keys.
func pullRequestActions(f Flavor) map[string]Action {
	keys := map[string]Action{
		"pullrequest:created":                 Opened,
		"pullrequest:updated":                 Updated, // new commits, or only a title
		"pullrequest:push":                    Updated,
		"pullrequest:fulfilled":               Closed,
		"pullrequest:merged":                  Closed, // of the plugin
		"pullrequest:rejected":                Closed,
		"pullrequest:declined":                Closed, // of the plugin
		"pullrequest:comment_created":         Commented,
		"pullrequest:comment_updated":         Commented,
		"pullrequest:comment_deleted":         Commented,
		"pullrequest:comment_resolved":        Commented,
		"pullrequest:comment_reopened":        Commented,
		"pullrequest:comment":                 Commented, // of the plugin
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

// pullRequestReader returns the reader of a pull request event. The shape decides: Cloud has a
// source, and Data Center and its plugin have a fromRef.
func pullRequestReader(f Flavor, action Action) func(object, *Event) error {
	return func(root object, e *Event) error {
		pr := root.get("pullrequest")
		if f == DataCenter && !root.get("pullRequest").isNull() {
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
		if f == DataCenter && !o.get("fromRef").isNull() {
			return readDataCenterPullRequest(root, o, c, e)
		}
		return readCloudPullRequest(root, o, c, e)
	}
}

// readCloudPullRequest reads source and destination. The repository and the commit of the source
// are null after the fork or the branch was deleted.
func readCloudPullRequest(root, pr object, c Change, e *Event) error {
	e.Repository = repositoryOf(root.get("repository"))
	source, target := pr.get("source").object(), pr.get("destination").object()
	if source.err != nil {
		return source.err
	}
	var err error
	c.Target, err = target.get("branch").object().get("name").text()
	if err != nil {
		return err
	}
	c.Commit, err = source.get("commit").object().get("hash").abbreviated()
	if err != nil {
		return err
	}
	c.Source = source.get("branch").object().get("name").textOrNone()
	c.Fork = !sameRepository(repositoryOf(source.get("repository")), e.Repository)
	e.Changes = append(e.Changes, c)
	return nil
}

// readDataCenterPullRequest reads fromRef, which can be a tag, and toRef. The plugin nests commit
// and branch in them.
func readDataCenterPullRequest(root, pr object, c Change, e *Event) error {
	from, to := pr.get("fromRef").object(), pr.get("toRef").object()
	e.Repository = repositoryOf(to.get("repository"))
	var err error
	c.Target, err = refNameOf(to)
	if err != nil {
		return err
	}
	commit := from.get("latestCommit")
	if commit.isNull() {
		commit = from.get("commit").object().get("hash")
	}
	c.Commit, err = commit.abbreviated()
	if err != nil {
		return err
	}
	c.Source, err = refNameOf(from)
	if err != nil {
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

// onlyTextEdited reports whether a pr:modified event changed no ref, because its target is
// unchanged.
func onlyTextEdited(root, to object) bool {
	previous := root.get("previousTarget").object().get("id").textOrNone()
	return previous != "" && previous == to.get("id").textOrNone()
}

// refNameOf returns the short name of the ref of one side.
func refNameOf(o object) (string, error) {
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

// sameRepository compares two repositories by id if both have one, else by name. A source without
// id and name counts as a fork, because forks get fewer rights.
func sameRepository(a, b Repository) bool {
	switch {
	case a.UUID != "" && b.UUID != "":
		return a.UUID == b.UUID
	case a.ID != "" && b.ID != "":
		return a.ID == b.ID
	}
	return a.FullName != "" && a.FullName == b.FullName
}
