package pagestest

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"slipway/plugin/accounts"
	"slipway/plugin/autobuild"
	"slipway/plugin/catalog"
	"slipway/plugin/planner"
	"slipway/plugin/store"
)

// Services are fakes of the services that send requests to Bitbucket or a registry. They change the
// store, and return the error of Fail.
type Services struct {
	Store *store.Store
	mark  string // the end of every text from outside

	mu    sync.Mutex
	err   error
	flows map[string]string // browser id by state
	user  autobuild.User    // the user that Finish returns
}

// Fail sets the error of all further calls; nil resets it.
func (r *Services) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func (r *Services) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// CallbackURL returns the callback URL of the sample.
func (r *Services) CallbackURL() string { return URL + "/oauth/bitbucket/callback" }

// BeginLink stores the browser of a new flow. The states are state-1, state-2, and so on.
func (r *Services) BeginLink(_ context.Context, _, _, browserID, _ string) (string, error) {
	if err := r.failure(); err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	state := fmt.Sprintf("state-%d", len(r.flows)+1)
	r.flows[state] = browserID
	return "https://bitbucket.example.org/site/oauth2/authorize?state=" + state, nil
}

// Finish signs in as the sample's alice, once per state and only in the browser of the flow.
func (r *Services) Finish(_ context.Context, state, _, browserID string) (accounts.Linked, error) {
	if err := r.failure(); err != nil {
		return accounts.Linked{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, ok := r.flows[state]; !ok || known != browserID {
		return accounts.Linked{}, accounts.ErrFlow
	}
	r.flows[state] = ""
	return accounts.Linked{User: r.user, ReturnTo: "/settings/providers", SignedIn: true}, nil
}

// AddToken stores the token as an account.
func (r *Services) AddToken(ctx context.Context, t accounts.Token) (autobuild.Account, error) {
	if err := r.failure(); err != nil {
		return autobuild.Account{}, err
	}
	return r.Store.SaveAccount(
		ctx,
		autobuild.Account{
			ProviderID:  t.ProviderID,
			Kind:        t.Kind,
			Name:        t.Name,
			Workspace:   t.Workspace,
			Repository:  t.Repository,
			AccessToken: t.Token,
			ExpiresAt:   t.Expires,
		},
	)
}

// Forget deletes an account, or marks it as broken if automated builds use it.
func (r *Services) Forget(ctx context.Context, accountID string) error {
	if err := r.failure(); err != nil {
		return err
	}
	if err := r.Store.DeleteAccount(ctx, accountID); err != nil {
		account, err := r.Store.Account(ctx, accountID)
		if err != nil {
			return err
		}
		return r.Store.BreakAccount(ctx, accountID, account.Version, "it was unlinked")
	}
	return nil
}

// MissingScopes returns those of the three required scopes that the account lacks.
func (r *Services) MissingScopes(a autobuild.Account) []string {
	var missing []string
	for _, needed := range []string{"account", "repository", "webhook"} {
		if !strings.Contains(strings.Join(a.Scopes, " "), needed) {
			missing = append(missing, needed)
		}
	}
	return missing
}

// ProviderReady rejects the key "wrong".
func (r *Services) ProviderReady(_ context.Context, p autobuild.Provider) error {
	if p.ClientID == "wrong" {
		return autobuild.ErrUnauthorized
	}
	return r.failure()
}

// Workspaces returns two workspaces.
func (r *Services) Workspaces(context.Context, string) ([]autobuild.Workspace, error) {
	return []autobuild.Workspace{{ID: "{w1}", Slug: "acme"}, {ID: "{w2}", Slug: "acme-labs" + r.mark}}, r.failure()
}

// Repositories returns pages of two repositories, or all matches of a search.
func (r *Services) Repositories(
	_ context.Context,
	_, workspace, search, page string,
) ([]autobuild.Repository, string, error) {
	var found []autobuild.Repository
	for _, slug := range []string{"app", "worker", "docs", "tools"} {
		if strings.Contains(slug, search) {
			found = append(
				found,
				autobuild.Repository{
					ProviderID:    ProviderID,
					ID:            "{" + slug + "}",
					FullName:      workspace + "/" + slug + r.mark,
					DefaultBranch: "main",
					Private:       slug == "worker",
				},
			)
		}
	}
	switch {
	case page == "2":
		return found[2:], "", r.failure()
	case search == "":
		return found[:2], "2", r.failure()
	}
	return found, "", r.failure()
}

// Dockerfiles returns none in tools, two in docs and one in other repositories.
func (r *Services) Dockerfiles(_ context.Context, _, fullName string) (autobuild.Repository, []string, error) {
	repository := Repository(fullName)
	switch {
	case strings.HasSuffix(fullName, "/docs"):
		return repository, []string{"Dockerfile", "site/Dockerfile" + r.mark}, r.failure()
	case strings.HasSuffix(fullName, "/tools"):
		return repository, nil, r.failure()
	}
	return repository, []string{"Dockerfile"}, r.failure()
}

// Create stores a draft. An image without a registry and an unknown engine are invalid fields.
func (r *Services) Create(ctx context.Context, d catalog.Draft) (catalog.Saved, error) {
	return r.save(ctx, "", d)
}

// Update replaces an automated build with a draft.
func (r *Services) Update(ctx context.Context, id string, d catalog.Draft) (catalog.Saved, error) {
	return r.save(ctx, id, d)
}

func (r *Services) save(ctx context.Context, id string, d catalog.Draft) (catalog.Saved, error) {
	if err := r.failure(); err != nil {
		return catalog.Saved{}, err
	}
	if !strings.Contains(d.Image, "/") {
		return catalog.Saved{}, &catalog.Invalid{
			Fields: []autobuild.FieldError{
				{Field: "image", Message: "name the registry too, as registry.example.com/app"},
			},
		}
	}
	if len(d.Rules) == 0 {
		return catalog.Saved{}, &catalog.Invalid{
			Fields: []autobuild.FieldError{{Field: "rules", Message: "add a rule"}},
		}
	}
	if d.Engine == "" {
		d.Engine = "embedded"
	}
	if d.Engine != "embedded" && d.Engine != "drone" {
		return catalog.Saved{}, &catalog.Invalid{
			Fields: []autobuild.FieldError{
				{Field: "engine", Message: fmt.Sprintf("%q is not configured here", d.Engine)},
			},
		}
	}
	known, err := r.Store.AutomatedBuildsOf(ctx, Repository(d.Repository))
	if err != nil {
		return catalog.Saved{}, err
	}
	for _, k := range known {
		if k.ID != id && k.Image == d.Image && !d.Duplicate {
			return catalog.Saved{}, &catalog.Invalid{
				Fields: []autobuild.FieldError{
					{Field: "duplicate", Message: "it exists already. Do you want another one?"},
				},
			}
		}
	}
	a, err := r.Store.SaveAutomatedBuild(ctx, autobuild.AutomatedBuild{
		ID:          id,
		AccountID:   d.AccountID,
		Repository:  Repository(d.Repository),
		Image:       d.Image,
		Engine:      d.Engine,
		Autotest:    autobuild.AutotestOff,
		TestsOff:    d.TestsOff,
		HooksOff:    d.HooksOff,
		SkipCIOff:   d.SkipCIOff,
		Environment: d.Environment,
		Rules:       d.Rules,
		CreatedBy:   d.UserID,
	})
	saved := catalog.Saved{AutomatedBuild: a}
	if strings.HasPrefix(d.Image, "nobody.example.com/") {
		saved.Warnings = []string{"no credential is stored for nobody.example.com"}
	}
	return saved, err
}

// Delete deletes an automated build from the store.
func (r *Services) Delete(ctx context.Context, id string) error {
	return r.Store.DeleteAutomatedBuild(ctx, id)
}

// EnsureHook makes the hook active.
func (r *Services) EnsureHook(ctx context.Context, repository autobuild.Repository, _ string) (autobuild.Hook, error) {
	if err := r.failure(); err != nil {
		return autobuild.Hook{}, err
	}
	h, err := r.Store.HookOf(ctx, repository)
	if err != nil {
		return h, err
	}
	h.State, h.Problem = autobuild.HookActive, ""
	return r.Store.SaveHook(ctx, h)
}

// HookURL returns the URL of a hook's deliveries.
func (r *Services) HookURL(h autobuild.Hook) string { return URL + "/hooks/bitbucket/" + h.ID }

// DropAccount reports one removed hook and one failure. It changes nothing.
func (r *Services) DropAccount(context.Context, string) (catalog.Dropped, error) {
	return catalog.Dropped{
		Removed: []string{"acme/app"},
		Failed:  map[string]error{"acme/worker": autobuild.ErrForbidden},
	}, r.failure()
}

// SaveRegistry stores a registry as checked. The user name "nobody" is rejected.
func (r *Services) SaveRegistry(ctx context.Context, reg autobuild.Registry) (autobuild.Registry, error) {
	if err := r.failure(); err != nil {
		return autobuild.Registry{}, err
	}
	reg.CheckedAt = Start
	reg.Problem = ""
	if reg.Username == "nobody" {
		reg.Problem = "the registry does not accept the user name and password"
	}
	return r.Store.SaveRegistry(ctx, reg)
}

// CheckRegistry checks a stored registry.
func (r *Services) CheckRegistry(ctx context.Context, id string) (autobuild.Registry, error) {
	reg, err := r.Store.Registry(ctx, id)
	if err != nil {
		return reg, err
	}
	return r.SaveRegistry(ctx, reg)
}

// Start creates one build of the requested rule, or of the first rule.
func (r *Services) Start(ctx context.Context, q planner.Request) ([]autobuild.Build, error) {
	if err := r.failure(); err != nil {
		return nil, err
	}
	a, err := r.Store.AutomatedBuild(ctx, q.AutomatedBuildID)
	if err != nil {
		return nil, err
	}
	rule := a.Rules[0]
	for _, candidate := range a.Rules {
		if candidate.ID == q.RuleID {
			rule = candidate
		}
	}
	ref := q.Ref
	if ref.Name == "" {
		ref = autobuild.Ref{Kind: rule.SourceType, Name: rule.Source}
	}
	c := commit(1, "")
	if q.Commit != "" {
		c.Hash = q.Commit
	}
	b := newBuild(a, rule, ref, c)
	b.Cause, b.CausedBy, b.CauseKey = q.Cause, q.By, q.Key
	b, _, err = r.Store.CreateBuild(ctx, b)
	return []autobuild.Build{b}, err
}

// Cancel cancels a build in the store.
func (r *Services) Cancel(ctx context.Context, buildID, by string) (autobuild.Build, error) {
	if err := r.failure(); err != nil {
		return autobuild.Build{}, err
	}
	return r.Store.CancelBuild(ctx, buildID, autobuild.ReasonUser, "cancelled by "+by)
}

// Retry queues a build again.
func (r *Services) Retry(ctx context.Context, buildID, by string) (autobuild.Build, error) {
	return r.Store.RetryBuild(ctx, buildID, by)
}
