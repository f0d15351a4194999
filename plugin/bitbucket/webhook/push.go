package webhook

import "fmt"

// readPush reads repo:push. Cloud sends it, and also the old post-webhooks plugin of Data Center,
// which copied the format except for the repository.
// Source: https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/#Push
func readPush(root object, e *Event) error {
	e.Repository = repositoryOf(root.get("repository"))
	changes, more, err := root.get("push").object().get("changes").list(MaxChanges)
	if err != nil {
		return err
	}
	for _, n := range changes {
		c, skipped, err := pushChange(n.object())
		if err != nil {
			return err
		}
		e.add(n.path, c, skipped)
	}
	e.addOmitted(more)
	return nil
}

// add adds a change, or a line with the reason why an entry is not a change.
func (e *Event) add(path string, c Change, skipped string) {
	if skipped != "" {
		e.Skipped = append(e.Skipped, path+": "+skipped)
		return
	}
	e.Changes = append(e.Changes, c)
}

func (e *Event) addOmitted(more int) {
	if more > 0 {
		e.Skipped = append(
			e.Skipped,
			fmt.Sprintf("%d more changes: of one delivery the first %d are read", more, MaxChanges),
		)
	}
}

// pushChange reads one entry of push.changes. A null old means created, and a null new means
// deleted.
func pushChange(o object) (c Change, skipped string, err error) {
	if o.err != nil {
		return Change{}, "", o.err
	}
	before, after := o.get("old"), o.get("new")
	if before.isNull() && after.isNull() {
		return Change{}, "it has neither an old nor a new ref", nil
	}
	ref := after
	c.Action = Updated
	switch {
	case after.isNull():
		ref, c.Action = before, Deleted
	case before.isNull():
		c.Action = Created
	}
	named := ref.object()
	c.Kind, c.Name, skipped, err = pushRef(named)
	if err != nil || skipped != "" {
		return Change{}, skipped, err
	}
	c.Old = before.object().get("target").object().get("hash").hashOrNone()
	if c.Action == Deleted {
		return c, "", nil
	}
	target := named.get("target").object()
	c.Commit, err = target.get("hash").hash()
	c.Message = target.get("message").textOrNone()
	return c, "", err
}

func pushRef(o object) (kind Kind, name, skipped string, err error) {
	refType, err := o.get("type").text()
	if err != nil {
		return "", "", "", err
	}
	name, err = o.get("name").text()
	if err != nil {
		return "", "", "", err
	}
	switch refType {
	case "branch", "named_branch":
		kind = Branch
	case "tag", "annotated_tag":
		kind = Tag
	default:
		return "", "", fmt.Sprintf("a %.40q is no branch and no tag", refType), nil
	}
	if !validRefName(name) {
		return "", "", fmt.Sprintf("%.100q is no name that git allows", name), nil
	}
	return kind, name, "", nil
}
