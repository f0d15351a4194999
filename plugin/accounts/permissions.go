package accounts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/cloud"
	"slipway/plugin/logctx"
	"slipway/plugin/provider"
)

const (
	// checkWait limits how long a page waits for Bitbucket while older permissions can be used.
	checkWait = 3 * time.Second
	// checkTimeout limits one check. A check continues after all its callers have given up.
	checkTimeout = 30 * time.Second
	// renewEvery is the shortest time between two checks that a person requests.
	renewEvery = 10 * time.Second
	// checkPause is the time between a failed check and the next one, unless Bitbucket sends
	// Retry-After.
	checkPause = 15 * time.Second
	maxPause   = 5 * time.Minute
)

// A failedCheck is the last error of a session's check. Until it expires, pages return it without
// a further request to a Bitbucket that is down.
type failedCheck struct {
	until time.Time
	err   error
}

// CurrentPermissions makes sure that the stored permissions of a session's user can be used. It
// reads permissions older than autobuild.PermissionsFresh again. If Bitbucket does not respond,
// permissions up to autobuild.PermissionsKept old are used. It returns ErrUnauthorized if the user
// has to sign in again. After other errors the permissions are unknown, and the user sees nothing.
// Concurrent calls of one session share a check.
func (a *Accounts) CurrentPermissions(ctx context.Context, sessionID, userID string) error {
	read, err := a.store.PermissionsAt(ctx, userID)
	if err != nil {
		return err
	}
	age := a.now().Sub(read)
	if age < autobuild.PermissionsFresh {
		return nil
	}
	usable := age < autobuild.PermissionsKept
	wait := ctx
	if usable {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, checkWait)
		defer cancel()
	}
	err = a.checkShared(wait, sessionID, userID, read)
	if usable && ctx.Err() == nil && !endsPermissions(err) {
		return nil
	}
	return err
}

// endsPermissions reports whether an error means that the user's stored permissions are no longer
// valid. A rejected OAuth consumer does not mean that.
func endsPermissions(err error) bool {
	refused := errors.Is(err, autobuild.ErrUnauthorized) && !errors.Is(err, errClient)
	return refused || errors.Is(err, autobuild.ErrNotFound)
}

// RenewPermissions reads the permissions of a session's user now, unless they were read within
// the last 10 seconds. It returns the same errors as CurrentPermissions.
func (a *Accounts) RenewPermissions(ctx context.Context, sessionID, userID string) error {
	read, err := a.store.PermissionsAt(ctx, userID)
	if err != nil {
		return err
	}
	if a.now().Sub(read) < renewEvery {
		return nil
	}
	return a.checkShared(ctx, sessionID, userID, read)
}

// checkShared reads the permissions again, together with concurrent callers of the session. read is
// the time of the permissions that the caller found stored.
func (a *Accounts) checkShared(ctx context.Context, sessionID, userID string, read time.Time) error {
	if err := a.recentFailure(sessionID); err != nil {
		return err
	}
	flight := a.flights.DoChan("permissions/"+sessionID, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
		defer cancel()
		// Another caller's check may have ended after this caller found the permissions too old.
		if current, err := a.store.PermissionsAt(ctx, userID); err == nil && current.After(read) {
			return nil, nil
		}
		err := a.checkPermissions(ctx, sessionID)
		if err != nil && !endsPermissions(err) { // logged once for each check, not for each page
			logctx.Log(ctx, a.log).WithError(err).Warn("cannot read permissions: using those of the last hour")
		}
		a.rememberFailure(sessionID, err)
		return nil, err
	})
	select {
	case <-ctx.Done():
		return fmt.Errorf("read permissions: %w: %w", autobuild.ErrUnavailable, context.Cause(ctx))
	case result := <-flight:
		return result.Err
	}
}

func (a *Accounts) recentFailure(sessionID string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if failed, ok := a.failures[sessionID]; ok && a.now().Before(failed.until) {
		return failed.err
	}
	return nil
}

// rememberFailure stores the result of a check. It also removes expired entries, so that the map
// stays small.
func (a *Accounts) rememberFailure(sessionID string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	for id, failed := range a.failures {
		if !now.Before(failed.until) {
			delete(a.failures, id)
		}
	}
	if err == nil || endsPermissions(err) {
		delete(a.failures, sessionID)
		return
	}
	pause := checkPause
	var limited *autobuild.RateLimitError
	if errors.As(err, &limited) {
		pause = min(max(pause, limited.RetryAfter), maxPause)
	}
	a.failures[sessionID] = failedCheck{until: now.Add(pause), err: err}
}

// checkPermissions reads and stores the permissions of a session's user. If Bitbucket rejects the
// sign-in, it deletes the stored permissions.
func (a *Accounts) checkPermissions(ctx context.Context, sessionID string) error {
	session, err := a.store.Session(ctx, sessionID)
	if errors.Is(err, autobuild.ErrNotFound) {
		return fmt.Errorf("read permissions: %w: the session has ended", autobuild.ErrUnauthorized)
	}
	if err != nil {
		return fmt.Errorf("read permissions: %w", err)
	}
	found, err := a.readPermissions(ctx, session)
	if err != nil && endsPermissions(err) {
		return errors.Join(err, a.store.DropPermissions(ctx, session.UserID))
	}
	if err != nil {
		return fmt.Errorf("read permissions: %w", err)
	}
	err = a.store.SavePermissions(ctx, found)
	if errors.Is(err, autobuild.ErrNotFound) {
		return fmt.Errorf("read permissions: %w: the session has ended", autobuild.ErrUnauthorized)
	}
	return err
}

func (a *Accounts) readPermissions(ctx context.Context, session autobuild.Session) (autobuild.Permissions, error) {
	found := autobuild.Permissions{
		SessionID: session.ID, UserID: session.UserID, Repositories: map[string]autobuild.Permission{},
	}
	user, err := a.store.User(ctx, session.UserID)
	if err != nil {
		return found, err
	}
	if user.RemoteID == "" {
		return found, fmt.Errorf("%w: %s has no identity at Bitbucket", autobuild.ErrUnauthorized, user.Name)
	}
	found.ProviderID = user.ProviderID
	p, err := a.provider(ctx, user.ProviderID)
	if err != nil {
		return found, err
	}
	client, err := a.userClient(ctx, p, session, user)
	if err != nil {
		return found, err
	}
	repositories, err := a.store.Repositories(ctx, p.ID)
	if err != nil {
		return found, err
	}
	for workspace, some := range byWorkspace(repositories) {
		if err := a.readWorkspace(ctx, client, workspace, some, &found); err != nil {
			return found, provider.Translate(err)
		}
	}
	return found, nil
}

// byWorkspace groups repositories by the uuid of their workspace, or by its slug if the uuid is
// unknown.
func byWorkspace(repositories []autobuild.Repository) map[string][]autobuild.Repository {
	groups := map[string][]autobuild.Repository{}
	for _, r := range repositories {
		slug, _, _ := strings.Cut(r.FullName, "/")
		workspace := cmp.Or(r.WorkspaceID, slug)
		groups[workspace] = append(groups[workspace], r)
	}
	return groups
}

// readWorkspace adds the user's permissions on some repositories of a workspace. Without a granted
// permission, public repositories can be read if they still are public.
func (a *Accounts) readWorkspace(
	ctx context.Context, client *cloud.Client, workspace string, repositories []autobuild.Repository,
	found *autobuild.Permissions,
) error {
	var all, public []string
	for _, r := range repositories {
		all = append(all, r.ID)
		if !r.Private {
			public = append(public, r.ID)
		}
	}
	granted, err := client.Permissions(ctx, workspace, all)
	if err != nil {
		return err
	}
	for id, name := range granted {
		permission := autobuild.Permission(name)
		if !permission.Known() {
			log := logctx.Log(ctx, a.log).WithField("permission", name)
			log.Warn("Bitbucket reported an unknown permission; it is ignored")
			continue
		}
		found.Repositories[id], found.Granted = permission, true
	}
	public = slices.DeleteFunc(public, func(id string) bool { return found.Repositories[id].Known() })
	if len(public) == 0 {
		return nil
	}
	readable, err := client.Public(ctx, workspace, public)
	for _, id := range readable {
		found.Repositories[id] = autobuild.PermissionRead
	}
	return err
}
