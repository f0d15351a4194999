package explain_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/discard"
	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/catalog/rulesfile"
	"slipway/plugin/planner"
	"slipway/plugin/provider"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
)

// The gateway and the command explain decide alike on every sample payload: the same rules build the same tags,
// for the same reason.
func TestTheGatewayDecidesAsExplained(t *testing.T) {
	kinds := map[string]autobuild.ProviderKind{"cloud": autobuild.Cloud, "datacenter": autobuild.DataCenter}
	files := []string{filepath.Join(ruleDir, "app.yaml"), everything(t), write(t, "all.yaml",
		"version: 1\nskip_ci: false\nrules:\n- {source_type: branch, source: '/.*/', tags: '{sourceref}'}\n")}
	compared := 0
	for flavor, kind := range kinds {
		for file, event := range payloads(t, flavor) {
			for _, rules := range files {
				t.Run(flavor+"/"+filepath.Base(file)+"/"+filepath.Base(rules), func(t *testing.T) {
					compared += compareDecisions(t, kind, event, rules, file)
				})
			}
		}
	}
	if compared < 300 {
		t.Errorf("compared decisions: got %d, want at least 300", compared)
	}
}

// compareDecisions plans a payload as the gateway does, and compares the decisions with those of explain. It
// returns their number.
func compareDecisions(t *testing.T, kind autobuild.ProviderKind, event, rules, file string) (compared int) {
	t.Helper()
	body := read(t, file)
	push, err := provider.ParsePush(kind, event, []byte(body))
	must.Succeed(t, err)
	_, explained := run(t, kind, event, rules, body)
	planned := plan(t, kind, rules, push, event, body)
	if len(planned.Outcomes) == 0 {
		if push.Ignored == "" && push.Repository.ID != "" && len(explained.Changes) > 0 {
			t.Errorf("outcomes: got none (%s), want %d", planned.Reason, len(explained.Changes))
		}
		return 0
	}
	for _, c := range explained.Changes {
		outcome, found := outcomeOf(planned, c)
		if !found {
			t.Errorf("%s %s at %s: got no outcome, want one", c.Kind, c.Name, c.Commit)
			continue
		}
		var want []decision
		for _, d := range outcome.Rules {
			want = append(want, decision{
				Build: d.Decision.Build, Publish: d.Decision.Publish, Tags: d.Decision.Tags,
				Dockerfile: d.Decision.Dockerfile, Context: d.Decision.Context, Reason: d.Decision.Reason,
			})
		}
		var got []decision
		for _, d := range c.Decisions {
			d.Rule = "" // a stored rule has an id, and a rule of a file may have none
			got = append(got, d)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s %s (%s): decisions (-gateway +explain):\n%s", c.Kind, c.Name, outcome.Refused, diff)
		}
		compared += len(got)
	}
	return compared
}

// outcomeOf returns the gateway's outcome of an explained change.
func outcomeOf(d autobuild.Delivery, c change) (autobuild.Outcome, bool) {
	for _, o := range d.Outcomes {
		if string(o.Change.Kind) == c.Kind && o.Change.Name == c.Name && o.Change.Commit == c.Commit {
			return o, true
		}
	}
	return autobuild.Outcome{}, false
}

// plan stores the automated builds of a rules file and a delivery, and plans it.
func plan(
	t *testing.T, kind autobuild.ProviderKind, rules string, push autobuild.Push, event, body string,
) autobuild.Delivery {
	t.Helper()
	s := storetest.Open(t)
	source, err := s.SaveProvider(t.Context(), autobuild.Provider{Kind: kind, Name: "source"})
	must.Succeed(t, err)
	repository := push.Repository
	repository.ProviderID = source.ID
	saveRules(t, s, rules, repository)
	hook, err := s.SaveHook(t.Context(), autobuild.Hook{
		AccountID: "account", Repository: repository, Secret: secret.New("s"), State: autobuild.HookActive,
	})
	must.Succeed(t, err)
	id, err := s.ReceiveDelivery(t.Context(), autobuild.Delivery{
		HookID: hook.ID, Event: event, Body: []byte(body), State: autobuild.DeliveryReceived,
	})
	must.Succeed(t, err)
	p := planner.New(planner.Options{
		Store: s, Connector: confirming{push: push, repository: repository}, Log: discard.Logger(),
	})
	must.Succeed(t, p.Deliver(t.Context(), id))
	d, err := s.Delivery(t.Context(), id)
	must.Succeed(t, err)
	return d
}

func saveRules(t *testing.T, s *store.Store, file string, repository autobuild.Repository) {
	t.Helper()
	f, err := os.Open(file)
	must.Succeed(t, err)
	defer func() { _ = f.Close() }()
	documents, err := rulesfile.Decode(f)
	must.Succeed(t, err)
	for _, d := range documents {
		d.Build.AccountID, d.Build.Repository, d.Build.Engine = "account", repository, "embedded"
		d.Build.Environment = nil
		_, err := s.SaveAutomatedBuild(t.Context(), d.Build)
		must.Succeed(t, err)
	}
}

// confirming is a provider that confirms every change of a push. It does not know the changed paths, as explain
// does not.
type confirming struct {
	autobuild.Repositories
	push       autobuild.Push
	repository autobuild.Repository
}

// Connect returns the same connection for every account.
func (c confirming) Connect(context.Context, string) (autobuild.Connection, error) {
	return autobuild.Connection{Repositories: c, Commits: c, History: c}, nil
}

// Repository returns the repository of the push.
func (c confirming) Repository(context.Context, string) (autobuild.Repository, error) {
	return c.repository, nil
}

// Resolve returns the commit of the last change of a ref.
func (c confirming) Resolve(
	_ context.Context, _ autobuild.Repository, ref autobuild.Ref,
) (found autobuild.Commit, err error) {
	for _, change := range c.push.Changes {
		if change.Ref() == ref {
			found = autobuild.Commit{Hash: change.Commit, Message: change.Message}
		}
	}
	if found.Hash == "" {
		return found, autobuild.ErrNotFound
	}
	return found, nil
}

// Commit returns a commit of the push.
func (c confirming) Commit(_ context.Context, _ autobuild.Repository, hash string) (autobuild.Commit, error) {
	for _, change := range c.push.Changes {
		if change.Commit == hash {
			return autobuild.Commit{Hash: hash, Message: change.Message}, nil
		}
	}
	return autobuild.Commit{}, autobuild.ErrNotFound
}

// Heads returns the heads that the push made.
func (c confirming) Heads(context.Context, autobuild.Repository) ([]autobuild.Head, error) {
	var all []autobuild.Head
	for _, change := range c.push.Changes {
		if change.Commit != "" && change.Kind != autobuild.PullRequest {
			all = append(all, autobuild.Head{
				Ref: change.Ref(), Commit: autobuild.Commit{Hash: change.Commit, Message: change.Message},
			})
		}
	}
	return all, nil
}

// ChangedPaths returns that the paths are unknown.
func (c confirming) ChangedPaths(context.Context, autobuild.Repository, string, string) ([]string, error) {
	return nil, nil
}

// IsAncestor returns that no commit is an ancestor of another one.
func (c confirming) IsAncestor(context.Context, autobuild.Repository, string, string) (bool, error) {
	return false, nil
}
