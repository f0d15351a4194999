package store

import (
	"context"
	"time"

	"slipway/config/secret"
	ab "slipway/plugin/autobuild"
)

// ---- deliveries.go

// ReceiveDelivery stores a delivery and its plan task; when it returns nil both are
// durable. Concurrent calls share commits (up to 256 a transaction).
func (s *Store) ReceiveDelivery(ctx context.Context, d ab.Delivery) (id string, err error) {
	panic("stub")
}

// Delivery returns one, body and headers included.
func (s *Store) Delivery(ctx context.Context, id string) (ab.Delivery, error) { panic("stub") }

// A DeliveryFilter selects deliveries, newest first; zero fields select all.
type DeliveryFilter struct {
	HookID string
	Limit  int    // default 50
	Before string // id to page on from
}

// Deliveries lists without bodies.
func (s *Store) Deliveries(ctx context.Context, f DeliveryFilter) ([]ab.Delivery, error) {
	panic("stub")
}

// ---- refs.go  (keyed by provider and repository id)

// RefState returns the last accepted head of a ref; ErrNotFound when it was never seen.
func (s *Store) RefState(ctx context.Context, r ab.Repository, ref ab.Ref) (ab.RefState, error) {
	panic("stub")
}

// RefStates returns all refs seen of a repository, deleted ones (empty head) included.
func (s *Store) RefStates(ctx context.Context, r ab.Repository) (map[ab.Ref]ab.RefState, error) {
	panic("stub")
}

// TransitionSeen reports whether the ref ever moved from one head to the other.
func (s *Store) TransitionSeen(ctx context.Context, t ab.Transition) (bool, error) { panic("stub") }

// BaselineRefs records the heads of refs not seen before, with seq 0 and no build: rules
// are not retroactive.
func (s *Store) BaselineRefs(ctx context.Context, r ab.Repository, heads []ab.Head) error {
	panic("stub")
}

// ---- plan.go

// Plan stores transitions, decisions, builds, their dispatch and report tasks and the
// delivery's outcome in one transaction, and returns the builds as stored. ErrConflict when
// a ref is no longer at Transition.Old (the caller decides anew); a build that exists by
// (rule, ref, seq) is not made twice.
func (s *Store) Plan(ctx context.Context, p ab.Plan) ([]ab.Build, error) { panic("stub") }

// ---- builds.go

// CreateBuild stores a manual or triggered build with its tasks. A second call with the same
// cause and CauseKey returns the first build and false.
func (s *Store) CreateBuild(ctx context.Context, b ab.Build) (build ab.Build, created bool, err error) {
	panic("stub")
}

// Build returns one by id.
func (s *Store) Build(ctx context.Context, id string) (ab.Build, error) { panic("stub") }

// BuildByNumber returns one by its number.
func (s *Store) BuildByNumber(ctx context.Context, number int64) (ab.Build, error) { panic("stub") }

// A BuildFilter selects builds, newest first; zero fields select all.
type BuildFilter struct {
	AutomatedBuildID string
	DeliveryID       string
	States           []ab.State
	Limit            int   // default 50
	Before           int64 // number to page on from
}

// Builds lists builds without stages.
func (s *Store) Builds(ctx context.Context, f BuildFilter) ([]ab.Build, error) { panic("stub") }

// LatestBuild returns the newest build that reports under the same status identity: same
// automated build, rule, ref and commit.
func (s *Store) LatestBuild(ctx context.Context, b ab.Build) (ab.Build, error) { panic("stub") }

// CountActive returns how many builds are starting or running on an engine.
func (s *Store) CountActive(ctx context.Context, engine string) (int, error) { panic("stub") }

// CancelBuild ends a build that is not final as cancelled, with reason and detail, its
// attempt too, and makes the report task. ErrConflict when it is final already.
func (s *Store) CancelBuild(ctx context.Context, id string, reason ab.Reason, detail string) (ab.Build, error) {
	panic("stub")
}

// RetryBuild queues a final build again: its next attempt will follow. ErrConflict when it
// is not final.
func (s *Store) RetryBuild(ctx context.Context, id, by string) (ab.Build, error) { panic("stub") }

// ---- attempts.go

// StartAttempt makes the next attempt of a queued build: the build becomes starting.
// limit bounds how many builds may be active on the engine; ErrUnavailable when they are.
// ErrConflict when the build is not queued.
func (s *Store) StartAttempt(ctx context.Context, buildID, engine string, tokenHash string, deadline time.Time, limit int) (ab.Attempt, error) {
	panic("stub")
}

// SetEngineRef records the engine's name of an attempt's pipeline.
func (s *Store) SetEngineRef(ctx context.Context, buildID string, attempt int, ref string) error {
	panic("stub")
}

// Attempt returns one.
func (s *Store) Attempt(ctx context.Context, buildID string, attempt int) (ab.Attempt, error) {
	panic("stub")
}

// Attempts returns all attempts of a build, oldest first.
func (s *Store) Attempts(ctx context.Context, buildID string) ([]ab.Attempt, error) { panic("stub") }

// ActiveAttempts returns all attempts that are not final, for the watcher.
func (s *Store) ActiveAttempts(ctx context.Context) ([]ab.Attempt, error) { panic("stub") }

// AttemptByToken returns the attempt that a runner's token is bound to. ErrUnauthorized when
// there is none, ErrFenced when it is over.
func (s *Store) AttemptByToken(ctx context.Context, buildID, tokenHash string) (ab.Attempt, error) {
	panic("stub")
}

// ClaimAttempt marks the attempt and its build running, for one runner; a repeated claim by
// the same runner is no error. ErrConflict when another runner has it, ErrFenced when it is over.
func (s *Store) ClaimAttempt(ctx context.Context, buildID string, attempt int, runnerID string) error {
	panic("stub")
}

// An EventRecord is a runner's report as the store keeps it.
type EventRecord struct {
	Seq    int64
	Stages []ab.Stage // all stages known so far; nil = unchanged
	Digest string     // built; empty = unchanged
}

// RecordEvents renews the heartbeat and stores what is newer than the attempt's EventSeq.
// ErrFenced when the attempt is over.
func (s *Store) RecordEvents(ctx context.Context, buildID string, attempt int, e EventRecord) error {
	panic("stub")
}

// A Finish ends an attempt.
type Finish struct {
	BuildID string
	Attempt int
	State   ab.State // final
	Reason  ab.Reason
	Detail  string
	Digest  string
	Size    int64
	Retry   bool // queue the build for a further attempt, if MaxAttempts allows, in place of ending it
}

// FinishAttempt ends the attempt and, unless it is retried, its build; tasks follow in the
// same transaction. ErrFenced when the attempt is over or not the newest.
func (s *Store) FinishAttempt(ctx context.Context, f Finish) (ab.Build, error) { panic("stub") }

// ---- permits.go

// Permit asks to move tags of the build's image: granted unless a newer transition of the
// same ref holds or held one of them. Asking again is harmless. holder says which build stands
// in the way.
func (s *Store) Permit(ctx context.Context, buildID string, attempt int, tags []string) (granted bool, holder ab.Build, err error) {
	panic("stub")
}

// ---- reports.go

// MarkReported records that a build's (attempt, state) was told to the provider.
func (s *Store) MarkReported(ctx context.Context, buildID string, attempt int, state ab.State, problem string) error {
	panic("stub")
}

// Reported returns what was last told, for the build's page.
func (s *Store) Reported(ctx context.Context, buildID string) (Report, error) { panic("stub") }

// A Report is what was last told of a build.
type Report struct {
	Attempt int
	State   ab.State
	Problem string // why the provider did not take it; empty = it did
	At      time.Time
}

// ---- automatedbuilds.go

// SaveAutomatedBuild creates (empty ID) or replaces one with its rules; rules without an id
// get one. The stored form is returned.
func (s *Store) SaveAutomatedBuild(ctx context.Context, a ab.AutomatedBuild) (ab.AutomatedBuild, error) {
	panic("stub")
}

// AutomatedBuild returns one with its rules.
func (s *Store) AutomatedBuild(ctx context.Context, id string) (ab.AutomatedBuild, error) {
	panic("stub")
}

// AutomatedBuilds lists all, by repository and image.
func (s *Store) AutomatedBuilds(ctx context.Context) ([]ab.AutomatedBuild, error) { panic("stub") }

// AutomatedBuildsOf lists those of one repository.
func (s *Store) AutomatedBuildsOf(ctx context.Context, r ab.Repository) ([]ab.AutomatedBuild, error) {
	panic("stub")
}

// DeleteAutomatedBuild deletes one and ends its builds as cancelled: removed. Its builds stay
// listed.
func (s *Store) DeleteAutomatedBuild(ctx context.Context, id string) error { panic("stub") }

// RenameRepository updates the full name, clone name and default branch wherever a repository is kept.
func (s *Store) RenameRepository(ctx context.Context, r ab.Repository) error { panic("stub") }

// ---- hooks.go

// SaveHook creates (empty ID) or replaces a hook.
func (s *Store) SaveHook(ctx context.Context, h ab.Hook) (ab.Hook, error) { panic("stub") }

// Hook returns one by the id in our URL.
func (s *Store) Hook(ctx context.Context, id string) (ab.Hook, error) { panic("stub") }

// HookOf returns the hook of a repository.
func (s *Store) HookOf(ctx context.Context, r ab.Repository) (ab.Hook, error) { panic("stub") }

// Hooks lists all.
func (s *Store) Hooks(ctx context.Context) ([]ab.Hook, error) { panic("stub") }

// DeleteHook forgets one.
func (s *Store) DeleteHook(ctx context.Context, id string) error { panic("stub") }

// TouchHook records a valid delivery (delivered) or a poll at the time given.
func (s *Store) TouchHook(ctx context.Context, id string, delivered, polled time.Time) error {
	panic("stub")
}

// ---- providers.go

// SaveProvider creates (empty ID) or replaces a source provider; names are unique.
func (s *Store) SaveProvider(ctx context.Context, p ab.Provider) (ab.Provider, error) { panic("stub") }

// Provider returns one by id.
func (s *Store) Provider(ctx context.Context, id string) (ab.Provider, error) { panic("stub") }

// Providers lists all, oldest first.
func (s *Store) Providers(ctx context.Context) ([]ab.Provider, error) { panic("stub") }

// ---- accounts.go

// SaveAccount creates (empty ID) or replaces a linked account.
func (s *Store) SaveAccount(ctx context.Context, a ab.Account) (ab.Account, error) { panic("stub") }

// Account returns one by id.
func (s *Store) Account(ctx context.Context, id string) (ab.Account, error) { panic("stub") }

// Accounts lists all.
func (s *Store) Accounts(ctx context.Context) ([]ab.Account, error) { panic("stub") }

// UpdateTokens stores refreshed tokens before anybody uses them. ErrConflict when the account
// is no longer at version: somebody else refreshed it.
func (s *Store) UpdateTokens(ctx context.Context, id string, version int64, access, refresh secret.Secret, expires time.Time) (ab.Account, error) {
	panic("stub")
}

// SetAccountState marks an account linked or broken, with the problem for people.
func (s *Store) SetAccountState(ctx context.Context, id string, state ab.AccountState, problem string) error {
	panic("stub")
}

// DeleteAccount forgets an account and its tokens. ErrConflict while automated builds use it.
func (s *Store) DeleteAccount(ctx context.Context, id string) error { panic("stub") }

// ---- registries.go

// SaveRegistry creates (empty ID) or replaces a registry credential; Host is unique.
func (s *Store) SaveRegistry(ctx context.Context, r ab.Registry) (ab.Registry, error) { panic("stub") }

// Registry returns one by id.
func (s *Store) Registry(ctx context.Context, id string) (ab.Registry, error) { panic("stub") }

// RegistryFor returns the credential with the longest Host that an image name begins with
// (whole path segments); ErrNotFound when there is none.
func (s *Store) RegistryFor(ctx context.Context, image string) (ab.Registry, error) { panic("stub") }

// Registries lists all.
func (s *Store) Registries(ctx context.Context) ([]ab.Registry, error) { panic("stub") }

// DeleteRegistry forgets one.
func (s *Store) DeleteRegistry(ctx context.Context, id string) error { panic("stub") }

// ---- users.go, sessions.go

// SaveUser creates (empty ID) or replaces a user; (provider, remote id) is unique.
func (s *Store) SaveUser(ctx context.Context, u ab.User) (ab.User, error) { panic("stub") }

// User returns one by id.
func (s *Store) User(ctx context.Context, id string) (ab.User, error) { panic("stub") }

// UserByRemote returns the user with a provider's identity.
func (s *Store) UserByRemote(ctx context.Context, providerID, remoteID string) (ab.User, error) {
	panic("stub")
}

// Users lists all.
func (s *Store) Users(ctx context.Context) ([]ab.User, error) { panic("stub") }

// CreateSession stores a session under the hash of its cookie.
func (s *Store) CreateSession(ctx context.Context, se ab.Session) error { panic("stub") }

// SessionUser returns the user of a session that has not expired; ErrNotFound otherwise.
func (s *Store) SessionUser(ctx context.Context, sessionID string) (ab.User, error) { panic("stub") }

// DeleteSession ends one.
func (s *Store) DeleteSession(ctx context.Context, sessionID string) error { panic("stub") }

// SaveOAuthFlow stores a flow under way.
func (s *Store) SaveOAuthFlow(ctx context.Context, f ab.OAuthFlow) error { panic("stub") }

// TakeOAuthFlow returns and deletes a flow, once; ErrNotFound when unknown, expired or taken.
func (s *Store) TakeOAuthFlow(ctx context.Context, stateHash string) (ab.OAuthFlow, error) {
	panic("stub")
}

// CreateFirstToken stores the hash of the one-time token for the first administrator,
// replacing an earlier one. ErrConflict when an administrator exists.
func (s *Store) CreateFirstToken(ctx context.Context, hash string, expires time.Time) error {
	panic("stub")
}

// TakeFirstToken uses the token once and creates the first administrator. ErrNotFound when
// it is wrong, used or expired.
func (s *Store) TakeFirstToken(ctx context.Context, hash string) (ab.User, error) { panic("stub") }
