package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/credentials"
	"slipway/plugin/engine/inrepo"
)

// checkTimeout limits the check of a credential at its registry, because a page waits for it.
const checkTimeout = 10 * time.Second

// Create stores a new automated build, adds its webhook and records the current refs. If fields of
// the draft are invalid, it returns *Invalid and stores nothing.
func (c *Catalog) Create(ctx context.Context, d Draft) (Saved, error) {
	connection, err := c.connect(ctx, d.AccountID)
	if errors.Is(err, autobuild.ErrNotFound) {
		return Saved{}, invalid("account", "unknown account: choose another one")
	}
	if err != nil {
		return Saved{}, err
	}
	r, err := connection.Repositories.Repository(ctx, d.Repository)
	if errors.Is(err, autobuild.ErrNotFound) {
		return Saved{}, invalid("repository", "the linked account has no access to repository %q", d.Repository)
	}
	if err != nil {
		return Saved{}, fmt.Errorf("find repository %s: %w", d.Repository, err)
	}
	return c.save(ctx, d, r, autobuild.AutomatedBuild{CreatedBy: d.UserID})
}

// Update changes an automated build. The repository cannot be changed. The account may be broken.
func (c *Catalog) Update(ctx context.Context, id string, d Draft) (Saved, error) {
	before, err := c.o.Store.AutomatedBuild(ctx, id)
	if err != nil {
		return Saved{}, err
	}
	if d.Repository != "" && d.Repository != before.Repository.FullName {
		return Saved{}, invalid(
			"repository",
			"cannot be changed from %s: create another automated build for %s",
			before.Repository.FullName,
			d.Repository,
		)
	}
	if _, err := c.o.Store.Account(ctx, d.AccountID); errors.Is(err, autobuild.ErrNotFound) {
		return Saved{}, invalid("account", "unknown account: choose another one")
	} else if err != nil {
		return Saved{}, err
	}
	return c.save(ctx, d, before.Repository, before)
}

func (c *Catalog) save(
	ctx context.Context,
	d Draft,
	r autobuild.Repository,
	before autobuild.AutomatedBuild,
) (Saved, error) {
	a, warnings, err := c.check(d, r, before)
	if err != nil {
		return Saved{}, err
	}
	defer c.lock(r)() // a concurrent Delete would remove the webhook
	if err := c.checkDuplicate(ctx, d, a, before); err != nil {
		return Saved{}, err
	}
	more, err := c.imageWarnings(ctx, a, d.Viewer)
	if err != nil {
		return Saved{}, err
	}
	ctx, cancel := detach(ctx) // do not stop between the automated build and its webhook
	defer cancel()
	stored, err := c.o.Store.SaveAutomatedBuild(ctx, a)
	if err != nil {
		return Saved{}, err
	}
	hook, err := c.ensureHook(ctx, stored.Repository, stored.AccountID)
	if err != nil {
		return Saved{}, err
	}
	return Saved{AutomatedBuild: stored, Hook: hook, Warnings: append(warnings, more...)}, nil
}

// checkDuplicate returns *Invalid if the repository has another automated build with the same image, unless the
// draft wants a duplicate or had the image before. Each push would build the image twice.
func (c *Catalog) checkDuplicate(ctx context.Context, d Draft, a, before autobuild.AutomatedBuild) error {
	if d.Duplicate || before.Image == a.Image {
		return nil
	}
	all, err := c.o.Store.AutomatedBuildsOf(ctx, a.Repository)
	if err != nil {
		return err
	}
	for _, other := range all {
		if other.ID != a.ID && other.Image == a.Image {
			return invalid("duplicate", "%s already has an automated build that pushes %s. Do you want another one?",
				a.Repository.FullName, a.Image)
		}
	}
	return nil
}

// imageWarnings returns problems that pushes of the image may have: other automated builds with the
// same image, and a rejected credential. It names no repository that the viewer may not read.
func (c *Catalog) imageWarnings(
	ctx context.Context,
	a autobuild.AutomatedBuild,
	viewer autobuild.Viewer,
) (warnings []string, err error) {
	all, err := c.o.Store.BareAutomatedBuilds(ctx, autobuild.BareFilter{Image: a.Image})
	if err != nil {
		return nil, err
	}
	for _, other := range all {
		if other.ID == a.ID {
			continue
		}
		permission, err := c.o.Store.Permission(ctx, viewer, other.Repository)
		if err != nil {
			return nil, err
		}
		subject := "Another automated build"
		if permission.Includes(autobuild.PermissionRead) {
			subject = "The automated build of " + other.Repository.FullName
		}
		warnings = append(
			warnings,
			fmt.Sprintf("%s also pushes %s. If both build the same tag, the later build wins.", subject, a.Image),
		)
	}
	warning, err := c.checkPush(ctx, a)
	if err != nil {
		return nil, err
	}
	if warning != "" {
		warnings = append(warnings, warning)
	}
	return warnings, nil
}

// checkPush starts a push with the credential that builds will use. It returns a warning if the
// registry rejects the push.
func (c *Catalog) checkPush(ctx context.Context, a autobuild.AutomatedBuild) (warning string, err error) {
	stored, err := c.o.Store.Registries(ctx)
	if err != nil {
		return "", err
	}
	inRepository := a.Engine == inrepo.Name
	credential := credentials.Choose(stored, credentials.Use{
		AutomatedBuildID: a.ID, Image: a.Image, BoundOnly: inRepository,
	}).Push
	if credential.ID == "" && inRepository {
		return "", nil // the step uses secrets of the CI, which the gateway cannot check
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if err := c.o.Registry.Check(ctx, a.Image, credential); err != nil {
		advice := "Check the credential of " + credential.Host + "."
		if credential.ID == "" {
			advice = "No registry credential matches it: add one."
		}
		return fmt.Sprintf("Cannot push %s: %s. %s", a.Image, err, advice), nil
	}
	return "", nil
}

// Delete deletes an automated build. With the last automated build of a repository it removes the
// webhook. It returns *LeftBehind if the automated build is deleted, but the webhook has to be
// removed by hand.
func (c *Catalog) Delete(ctx context.Context, id string) error {
	a, err := c.o.Store.AutomatedBuild(ctx, id)
	if err != nil {
		return err
	}
	defer c.lock(a.Repository)()
	ctx, cancel := detach(ctx) // do not stop before the webhook is removed
	defer cancel()
	if err := c.o.Store.DeleteAutomatedBuild(ctx, id); err != nil {
		return err
	}
	rest, err := c.o.Store.AutomatedBuildsOf(ctx, a.Repository)
	if err != nil || len(rest) > 0 {
		return err
	}
	return c.removeHook(ctx, a.Repository)
}
