package pagestest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

func provider() autobuild.Provider {
	return autobuild.Provider{
		ID:     ProviderID,
		Kind:   autobuild.Cloud,
		Name:   "bitbucket-cloud",
		WebURL: "https://bitbucket.org",
		APIURL: "https://api.bitbucket.org",
	}
}

// Repository returns a repository of the sample's provider.
func Repository(fullName string) autobuild.Repository {
	_, slug, _ := strings.Cut(fullName, "/")
	return autobuild.Repository{
		ProviderID:    ProviderID,
		ID:            "{" + slug + "}",
		WorkspaceID:   "{w1}",
		FullName:      fullName,
		DefaultBranch: "main",
		Private:       slug == "worker",
	}
}

func (s *Sample) addUsers(t testing.TB) {
	t.Helper()
	for i, user := range []struct {
		name string
		role autobuild.Role
	}{
		{"Alice Adams", autobuild.RoleAdmin},
		{"Bob Moss", Writer},
		{"Carol View", Reader},
		{"Dave New", autobuild.RoleNone},
		{"Erin Own", Owner},
		{"Fay Idle", Idle},
	} {
		role := autobuild.RoleNone
		if user.role == autobuild.RoleAdmin {
			role = autobuild.RoleAdmin
		}
		saved, err := s.Store.SaveUser(t.Context(), autobuild.User{
			ProviderID: ProviderID,
			RemoteID:   fmt.Sprintf("{u%d}", i),
			Name:       user.name + s.mark,
			Role:       role,
			CreatedAt:  Start.Add(-72 * time.Hour),
		})
		must.Succeed(t, err)
		s.Users[user.role] = saved
	}
	for role, permission := range map[autobuild.Role]autobuild.Permission{
		Reader: autobuild.PermissionRead, Writer: autobuild.PermissionWrite, Owner: autobuild.PermissionAdmin,
	} {
		s.Rights.Grant(s.Users[role].ID, permission, "{app}", "{worker}", "{docs}", "{tools}")
	}
	s.Services.user = s.Users[autobuild.RoleAdmin]
}

func (s *Sample) addAccounts(t testing.TB) {
	t.Helper()
	configured := provider()
	configured.ClientID, configured.ClientSecret = "aBcDeFgHiJkLmNoPqR", secret.New(ClientSecret)
	_, err := s.Store.SaveProvider(t.Context(), configured)
	must.Succeed(t, err)
	s.Account, err = s.Store.SaveAccount(t.Context(), autobuild.Account{
		ProviderID:  ProviderID,
		Kind:        autobuild.AccountOAuth,
		UserID:      s.Users[autobuild.RoleAdmin].ID,
		Name:        "alice" + s.mark,
		RemoteID:    "{u0}",
		Scopes:      []string{"account", "repository", "webhook"},
		AccessToken: secret.New(AccessToken),
		LinkedAt:    Start.Add(-70 * time.Hour),
	})
	must.Succeed(t, err)
	s.Token, err = s.Store.SaveAccount(t.Context(), autobuild.Account{
		ProviderID:  ProviderID,
		Kind:        autobuild.AccountRepositoryToken,
		Name:        "docs token" + s.mark,
		Repository:  "acme/docs" + s.mark,
		AccessToken: secret.New(AccessToken),
		LinkedAt:    Start.Add(-20 * time.Hour),
	})
	must.Succeed(t, err)
}

func (s *Sample) addRegistries(t testing.TB) {
	t.Helper()
	var err error
	s.Registry, err = s.Store.SaveRegistry(t.Context(), autobuild.Registry{
		Host:      "registry.example.com",
		Username:  "slipway",
		Password:  secret.New(RegistryToken),
		CheckedAt: Start.Add(-2 * time.Hour),
	})
	must.Succeed(t, err)
	_, err = s.Store.SaveRegistry(t.Context(), autobuild.Registry{
		Host:      "docker.io/acme",
		Username:  "acme-bot" + s.mark,
		Password:  secret.New(RegistryToken),
		CheckedAt: Start.Add(-30 * time.Hour),
		Problem:   "the registry does not accept the user name and password" + s.mark,
	})
	must.Succeed(t, err)
}

// defaultRule returns the rule that builds branch main as latest.
func defaultRule() autobuild.Rule {
	return autobuild.Rule{
		ID:         "default",
		SourceType: autobuild.Branch,
		Source:     "main",
		Tags:       "latest",
		Context:    "/",
		Dockerfile: "Dockerfile",
		Autobuild:  true,
		Caching:    true,
	}
}

// appRules returns rules with all kinds of settings.
func appRules(mark string) []autobuild.Rule {
	releases := defaultRule()
	releases.ID = "releases"
	releases.SourceType = autobuild.Tag
	releases.Source = `/^v([0-9]+)\.([0-9]+)$/`
	releases.Tags = `{\1}.{\2},{\1},latest`
	releases.BuildArgs = map[string]string{"VERSION": "{sourceref}" + mark}
	return []autobuild.Rule{defaultRule(), releases, {
		ID:         "nightly",
		SourceType: autobuild.Branch,
		Source:     "/^nightly" + mark + "/",
		Tags:       "nightly",
		Dockerfile: "ci/Dockerfile",
		Paths:      []string{"svc/**" + mark},
		Platforms:  []string{"linux/amd64"},
	}}
}

func (s *Sample) addAutomatedBuilds(t testing.TB) {
	t.Helper()
	var err error
	s.App, err = s.Store.SaveAutomatedBuild(t.Context(), autobuild.AutomatedBuild{
		AccountID:   s.Account.ID,
		Repository:  Repository("acme/app"),
		Image:       "registry.example.com/acme/app",
		Engine:      "embedded",
		Autotest:    autobuild.AutotestInternal,
		Environment: map[string]secret.Secret{"NPM_MODE": secret.New(EnvironmentVar)},
		Rules:       appRules(s.mark),
	})
	must.Succeed(t, err)
	s.Worker, err = s.Store.SaveAutomatedBuild(t.Context(), autobuild.AutomatedBuild{
		AccountID:  s.Account.ID,
		Repository: Repository("acme/worker"),
		Image:      "registry.example.com/acme/worker",
		Engine:     "drone",
		Autotest:   autobuild.AutotestOff,
		Rules:      []autobuild.Rule{defaultRule()},
	})
	must.Succeed(t, err)
	_, err = s.Store.SaveAutomatedBuild(t.Context(), autobuild.AutomatedBuild{
		AccountID:  s.Token.ID,
		Repository: Repository("acme/docs"),
		Image:      "docker.io/acme/docs",
		Engine:     "embedded",
		Autotest:   autobuild.AutotestOff,
		Rules:      []autobuild.Rule{defaultRule()},
	})
	must.Succeed(t, err)
}

// addHooks adds an active webhook of acme/app. acme/worker is polled, and acme/docs has none.
func (s *Sample) addHooks(t testing.TB) {
	t.Helper()
	var err error
	s.Hook, err = s.Store.SaveHook(t.Context(), autobuild.Hook{
		AccountID:   s.Account.ID,
		Repository:  s.App.Repository,
		RemoteID:    "{h1}",
		Secret:      secret.New(WebhookSecret),
		State:       autobuild.HookActive,
		DeliveredAt: Start.Add(-3 * time.Minute),
	})
	must.Succeed(t, err)
	_, err = s.Store.SaveHook(t.Context(), autobuild.Hook{
		AccountID:  s.Account.ID,
		Repository: s.Worker.Repository,
		Secret:     secret.New(WebhookSecret),
		State:      autobuild.HookPolled,
		Problem:    "alice is not an administrator of acme/worker, so Bitbucket does not let a webhook be added" + s.mark,
		PolledAt:   Start.Add(-2 * time.Minute),
	})
	must.Succeed(t, err)
}
