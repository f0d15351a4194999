package pagestest

import (
	"context"
	"maps"
	"sync"

	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

// Keys of Sample.Users for users without a role, by their permission on the sample's repositories.
const (
	Reader autobuild.Role = "reader"
	Writer autobuild.Role = "writer"
	Owner  autobuild.Role = "owner" // admin of the repositories
	Idle   autobuild.Role = "idle"  // without permissions, for tests that only need a user
)

// Rights is a fake of Bitbucket's permissions. Each check stores the granted permissions.
type Rights struct {
	Store *store.Store

	mu      sync.Mutex
	granted map[string]map[string]autobuild.Permission // by user id and repository id
	err     error
	renewed int
}

// Grant gives a user a permission on repositories. PermissionNone removes it.
func (r *Rights) Grant(userID string, p autobuild.Permission, repositories ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.granted[userID] == nil {
		r.granted[userID] = map[string]autobuild.Permission{}
	}
	for _, id := range repositories {
		r.granted[userID][id] = p
	}
}

// Fail sets the error of all further checks; nil resets it.
func (r *Rights) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// Renewed returns the number of calls of RenewPermissions.
func (r *Rights) Renewed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.renewed
}

// CurrentPermissions stores the granted permissions.
func (r *Rights) CurrentPermissions(ctx context.Context, sessionID, userID string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	return r.Store.SavePermissions(ctx, autobuild.Permissions{
		SessionID: sessionID, UserID: userID, ProviderID: ProviderID, Repositories: maps.Clone(r.granted[userID]),
	})
}

// RenewPermissions counts the call and stores the granted permissions.
func (r *Rights) RenewPermissions(ctx context.Context, sessionID, userID string) error {
	r.mu.Lock()
	r.renewed++
	r.mu.Unlock()
	return r.CurrentPermissions(ctx, sessionID, userID)
}
