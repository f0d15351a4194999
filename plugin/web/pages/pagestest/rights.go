package pagestest

import (
	"context"
	"maps"
	"sync"

	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

// The sample's people without a role, by their permission on its repositories: keys of Users.
const (
	Reader autobuild.Role = "reader"
	Writer autobuild.Role = "writer"
	Owner  autobuild.Role = "owner" // admin of the repositories
	Idle   autobuild.Role = "idle"  // without any, for tests that need nobody in particular
)

// Rights stand in for Bitbucket's permissions: each check stores what was granted until then.
type Rights struct {
	Store *store.Store

	mu      sync.Mutex
	granted map[string]map[string]autobuild.Permission // by user id and repository id
	err     error
	renewed int
}

// Grant gives a user a permission on repositories; PermissionNone takes it.
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

// Fail makes every further check answer err; nil makes them work again.
func (r *Rights) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// Renewed returns how often a person asked for a check.
func (r *Rights) Renewed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.renewed
}

// CurrentPermissions stores what is granted now.
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

// RenewPermissions counts, and does the same.
func (r *Rights) RenewPermissions(ctx context.Context, sessionID, userID string) error {
	r.mu.Lock()
	r.renewed++
	r.mu.Unlock()
	return r.CurrentPermissions(ctx, sessionID, userID)
}
