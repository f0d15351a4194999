package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"slipway/config"
	"slipway/config/discard"
	"slipway/config/netpolicy"
	"slipway/plugin/assembly"
	"slipway/plugin/autobuild"
	"slipway/plugin/catalog"
	"slipway/plugin/credentials"
	"slipway/plugin/engine/embedded"
	"slipway/plugin/engine/inrepo"
)

// oauthClients checks the OAuth client of each source provider.
func (d stored) oauthClients(ctx context.Context) []Finding {
	providers, err := d.store.Providers(ctx)
	if err != nil {
		return []Finding{{Check: checkOAuth, Err: err}}
	}
	checker := assembly.Accounts(d.config, d.store, discard.Logger())
	var all []Finding
	for _, p := range providers {
		f := Finding{
			Check: checkOAuth,
			Note:  p.Name + " accepts it; its callback URL must be " + checker.CallbackURL(),
		}
		if err := checker.ProviderReady(ctx, p); err != nil {
			f.Err = fmt.Errorf("%s: %w", p.Name, err)
		}
		all = append(all, f)
	}
	return all
}

// linkedAccounts checks the state and the scopes of each linked account.
func (d stored) linkedAccounts(ctx context.Context) []Finding {
	linked, err := d.store.Accounts(ctx)
	if err != nil {
		return []Finding{{Check: checkAccount, Err: err}}
	}
	checker := assembly.Accounts(d.config, d.store, discard.Logger())
	var all []Finding
	for _, a := range linked {
		f := Finding{Check: checkAccount, Note: a.Name + " is linked, with all permissions"}
		if a.State == autobuild.AccountBroken {
			f.Err = fmt.Errorf("%s: %s", a.Name, a.Problem)
			f.Fix = "link it again under Settings → Source providers"
		} else if missing := checker.MissingScopes(a); len(missing) > 0 {
			f.Err = fmt.Errorf("%s: its grant lacks %s", a.Name, strings.Join(missing, ", "))
			f.Fix = "select them on the OAuth consumer and link the account again"
		}
		all = append(all, f)
	}
	return all
}

// registries checks each registry credential that an automated build pushes with.
func (d stored) registries(ctx context.Context) []Finding {
	builds, err := d.store.BareAutomatedBuilds(ctx, autobuild.BareFilter{})
	if err != nil {
		return []Finding{{Check: checkRegistry, Err: err}}
	}
	registries, err := d.store.Registries(ctx)
	if err != nil {
		return []Finding{{Check: checkRegistry, Err: err}}
	}
	checker := catalog.RemoteRegistry{Policy: assembly.RegistryPolicy(d.config)}
	seen := map[string]bool{}
	var all []Finding
	for _, ab := range builds {
		r := credentials.Choose(registries, credentials.Use{
			AutomatedBuildID: ab.ID, Image: ab.Image, BoundOnly: ab.Engine == inrepo.Name,
		}).Push
		if r.ID == "" || seen[r.ID] {
			continue
		}
		seen[r.ID] = true
		f := Finding{Check: checkRegistry, Note: r.Host + " accepts the credential"}
		if warning := credentials.Warning(r); warning != "" {
			f.Note += "; " + warning
		}
		if err := checker.Check(ctx, ab.Image, r); err != nil {
			f.Err = fmt.Errorf("%s: %w", r.Host, err)
			if !errors.Is(err, netpolicy.ErrRefused) { // its message has the fix
				f.Fix = "enter it again under Settings → Registries"
			}
		}
		all = append(all, f)
	}
	return all
}

// webhooks lists the webhook of each repository.
func (d stored) webhooks(ctx context.Context) []Finding {
	hooks, err := d.store.HooksWithoutSecrets(ctx)
	if err != nil {
		return []Finding{{Check: checkWebhook, Err: err}}
	}
	usable, err := d.usableRepositories(ctx)
	if err != nil {
		return []Finding{{Check: checkWebhook, Err: err}}
	}
	var all []Finding
	for _, h := range hooks {
		name := h.Repository.FullName
		f := Finding{Check: checkWebhook, Note: name + ": " + lastDelivery(h)}
		switch {
		case !usable[repositoryOf(h.Repository)]:
			f.Note = name + ": nothing is built, because no linked account can read it"
		case h.State == autobuild.HookPolled:
			f.Note = fmt.Sprintf("%s is polled every %s: %s", name, d.config.PollInterval, h.Problem)
		}
		if h.SecretPending() {
			f.Err = errors.New(name + ": Bitbucket does not have the new secret yet")
			f.Fix = fmt.Sprintf("run `slipway webhooks rotate %s`", name)
		}
		all = append(all, f)
	}
	return all
}

func lastDelivery(h autobuild.Hook) string {
	if h.DeliveredAt.IsZero() {
		return "no delivery yet"
	}
	return "last delivery at " + h.DeliveredAt.Format(time.RFC3339)
}

// A repositoryKey identifies a repository. Two source providers can use the same id.
type repositoryKey struct{ provider, id string }

func repositoryOf(r autobuild.Repository) repositoryKey { return repositoryKey{r.ProviderID, r.ID} }

// usableRepositories returns the repositories with an automated build whose account can be used.
func (d stored) usableRepositories(ctx context.Context) (map[repositoryKey]bool, error) {
	accounts, err := d.store.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	builds, err := d.store.BareAutomatedBuilds(ctx, autobuild.BareFilter{})
	if err != nil {
		return nil, err
	}
	byID := map[string]autobuild.Account{}
	for _, a := range accounts {
		byID[a.ID] = a
	}
	usable := map[repositoryKey]bool{}
	for _, b := range builds {
		if byID[b.AccountID].Stopped() == "" {
			usable[repositoryOf(b.Repository)] = true
		}
	}
	return usable, nil
}

// runnerVersions compares the versions of the last build steps with the version of this program.
func (d stored) runnerVersions(ctx context.Context) []Finding {
	versions, err := d.store.RunnerVersions(ctx)
	if err != nil {
		return []Finding{{Check: checkVersions, Err: err}}
	}
	return compareVersions(config.Version, versions)
}

// compareVersions returns one finding for each engine and other version of its steps. It is a note and no
// problem, because the gateway may have been upgraded since that build. The embedded engine is left out: its
// step is the gateway's program.
func compareVersions(own string, versions []autobuild.RunnerVersion) []Finding {
	type step struct{ engine, version string }
	versions = slices.DeleteFunc(slices.Clone(versions), func(v autobuild.RunnerVersion) bool {
		return v.Engine == embedded.Name
	})
	var all []Finding
	seen := map[step]bool{}
	for _, v := range versions {
		key := step{v.Engine, v.Version}
		if v.Version == own || seen[key] {
			continue
		}
		seen[key] = true
		all = append(all, Finding{
			Check: checkVersions,
			Note: fmt.Sprintf("%s: the build step of build %d had version %s, and this gateway has %s: "+
				"use the step's image of the gateway's version", v.Engine, v.Build, v.Version, own),
		})
	}
	if len(all) == 0 && len(versions) > 0 {
		all = append(
			all,
			Finding{Check: checkVersions, Note: "the last build steps have the gateway's version, " + own},
		)
	}
	return all
}
