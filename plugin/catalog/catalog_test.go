package catalog_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest/faults"
	"slipway/plugin/catalog"
)

func TestBrowseFromWorkspaceToDockerfile(t *testing.T) {
	w := newWorld(t)
	commit(
		t,
		w.app,
		"main",
		map[string]string{"Dockerfile": "FROM scratch\n", "svc/a/Dockerfile": "FROM scratch\n", "README.md": "hi"},
	)
	workspaces, err := w.Workspaces(t.Context(), w.alice.ID)
	must(t, err)
	if len(workspaces) != 1 || workspaces[0].Slug != "acme" {
		t.Errorf("workspaces %+v", workspaces)
	}
	repositories, next, err := w.Repositories(t.Context(), w.alice.ID, "acme", "app", "")
	must(t, err)
	if len(repositories) != 1 || repositories[0].FullName != "acme/app" || next != "" {
		t.Errorf("repositories %+v, next %q", repositories, next)
	}
	r, files, err := w.Dockerfiles(t.Context(), w.alice.ID, "acme/app")
	must(t, err)
	if diff := cmp.Diff([]string{"Dockerfile", "svc/a/Dockerfile"}, files); diff != "" || r.DefaultBranch != "main" {
		t.Errorf("default branch %q, files %s", r.DefaultBranch, diff)
	}
	if _, files, err := w.Dockerfiles(t.Context(), w.alice.ID, "acme/lib"); err != nil || files != nil {
		t.Errorf("of an empty repository: %v, %v", files, err)
	}
}

func TestBrowsingTellsWhatIsNotThere(t *testing.T) {
	w := newWorld(t)
	if _, err := w.Workspaces(t.Context(), "nobody"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("workspaces: %v", err)
	}
	if _, _, err := w.Repositories(t.Context(), "nobody", "acme", "", ""); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("repositories: %v", err)
	}
	if _, _, err := w.Dockerfiles(t.Context(), "nobody", "acme/app"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("dockerfiles: %v", err)
	}
	if _, _, err := w.Dockerfiles(t.Context(), w.alice.ID, "acme/none"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("dockerfiles of no repository: %v", err)
	}
}

func TestCreateKeepsWhatWasTypedAndFillsInDefaults(t *testing.T) {
	w := newWorld(t)
	commit(t, w.app, "main", nil)
	d := w.draft()
	d.Rules, d.Environment = nil, map[string]secret.Secret{"NPM_MODE": password("ci")}
	saved := w.create(t, d)
	stored, err := w.store.AutomatedBuild(t.Context(), saved.ID)
	must(t, err)
	if stored.Image != w.registry+"/acme/app" || stored.Engine != "embedded" ||
		stored.Autotest != autobuild.AutotestOff ||
		stored.CreatedBy != "u1" {
		t.Errorf("%+v", stored)
	}
	if len(stored.Rules) != 1 || stored.Rules[0].Source != "main" || stored.Rules[0].Tags != "latest" ||
		stored.Rules[0].ID == "" {
		t.Errorf("R23: rules %+v", stored.Rules)
	}
	if stored.Repository.ID != w.app.UUID || stored.Environment["NPM_MODE"].Reveal() != "ci" ||
		len(saved.Warnings) > 0 {
		t.Errorf("%+v, warnings %q", stored, saved.Warnings)
	}
}

func TestCreateFindsAllFaultsAtOnceAndKeepsNothing(t *testing.T) {
	w := newWorld(t)
	d := w.draft()
	d.Image, d.Engine, d.Autotest = "Registry/App:latest", "jenkins", "sometimes"
	d.Rules = []autobuild.Rule{{SourceType: autobuild.Tag, Source: "/(/", Tags: "latest"}}
	d.Environment = map[string]secret.Secret{"A B": {}, "SLIPWAY_X": {}, "BIG": password(strings.Repeat("x", 33<<10))}
	_, err := w.Create(t.Context(), d)
	want := []string{"image", "engine", "autotest", "rules[0].source", "environment", "environment", "environment"}
	if diff := cmp.Diff(want, fieldsOf(t, err)); diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if all, err := w.store.AutomatedBuilds(t.Context()); err != nil || len(all) > 0 || len(w.app.Hooks()) > 0 {
		t.Errorf("kept: %v, %v, %d webhooks", all, err, len(w.app.Hooks()))
	}
}

func TestTheEngineIsOneThatIsConfigured(t *testing.T) {
	w := newWorld(t)
	several := w.with(func(o *catalog.Options) { o.Engines = []string{"embedded", "drone"} })
	d := w.draft()
	d.Engine = "drone"
	saved, err := several.Create(t.Context(), d)
	must(t, err)
	stored, err := w.store.AutomatedBuild(t.Context(), saved.ID)
	if err != nil || stored.Engine != "drone" {
		t.Errorf("chosen was drone, stored is %q, %v", stored.Engine, err)
	}
	d.Engine = "woodpecker"
	_, err = several.Update(t.Context(), saved.ID, d)
	if diff := cmp.Diff(
		[]string{"engine"},
		fieldsOf(t, err),
	); diff != "" ||
		!strings.Contains(err.Error(), `"woodpecker" is not configured here`) {
		t.Errorf("%v\n%s", err, diff)
	}
}

func fieldsOf(t *testing.T, err error) (fields []string) {
	t.Helper()
	var wrong *catalog.Invalid
	if !errors.As(err, &wrong) {
		t.Fatalf("no faults but %v", err)
	}
	for _, f := range wrong.Fields {
		fields = append(fields, f.Field)
	}
	if len(wrong.Error()) == 0 {
		t.Error("the faults say nothing")
	}
	return fields
}

func TestCreateNamesWhatIsNotThere(t *testing.T) {
	w := newWorld(t)
	for field, change := range map[string]func(*catalog.Draft){
		"account":     func(d *catalog.Draft) { d.AccountID = "nobody" },
		"repository":  func(d *catalog.Draft) { d.Repository = "acme/none" },
		"rules":       func(d *catalog.Draft) { d.Rules = nil }, // of an empty repository
		"environment": func(d *catalog.Draft) { d.Environment = many(101) },
	} {
		d := w.draft()
		change(&d)
		_, err := w.Create(t.Context(), d)
		if got := fieldsOf(t, err); !slices.Equal(got, []string{field}) {
			t.Errorf("%s: faults in %v", field, got)
		}
	}
}

// What the runner would refuse at the first build hook is a fault while somebody types.
func TestEnvironmentIsWhatTheRunnerTakes(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"PATH", "LD_PRELOAD", "GIT_SSH_COMMAND", "DOCKER_TAG", "SLIPWAY_X", "A B", strings.Repeat("A", 129)} {
		d := w.draft()
		d.Environment = map[string]secret.Secret{name: password("canary")}
		_, err := w.Create(t.Context(), d)
		if got := fieldsOf(
			t,
			err,
		); !slices.Equal(got, []string{"environment"}) ||
			strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: faults in %v: %v", name, got, err)
		}
	}
}

func many(n int) map[string]secret.Secret {
	all := map[string]secret.Secret{}
	for i := range n {
		all["V"+strings.Repeat("X", i)] = secret.Secret{}
	}
	return all
}

func TestCreateWarnsOfWhatWillNotPush(t *testing.T) {
	w := newWorld(t)
	w.create(t, w.draft())
	d := w.draft()
	d.Repository, d.Viewer = "acme/lib", autobuild.Viewer{Administrator: true}
	saved := w.create(t, d)
	if len(saved.Warnings) != 1 || !strings.Contains(saved.Warnings[0], "acme/app pushes") {
		t.Errorf("the same image twice: %q", saved.Warnings)
	}
	d.Image = "127.0.0.1:1/acme/lib"
	if saved := w.create(
		t,
		d,
	); len(saved.Warnings) != 1 ||
		!strings.Contains(saved.Warnings[0], "There is no registry credential for it") {
		t.Errorf("no registry: %q", saved.Warnings)
	}
	refusing := w.with(func(o *catalog.Options) {
		o.Registry = checker(func(string, autobuild.Registry) error { return errors.New("it is wrong") })
	})
	_, err := refusing.SaveRegistry(
		t.Context(),
		autobuild.Registry{Host: "registry.example.com", Username: "ada", Password: password("x")},
	)
	must(t, err)
	d.Image = "registry.example.com/acme/lib"
	if saved, err := refusing.Create(
		t.Context(),
		d,
	); err != nil || len(saved.Warnings) != 1 ||
		!strings.Contains(saved.Warnings[0], "Check the credential of registry.example.com") {
		t.Errorf("a wrong credential: %q, %v", saved.Warnings, err)
	}
}

// A warning names no repository that the person may not read.
func TestWarningsNameNoOtherRepository(t *testing.T) {
	w := newWorld(t)
	w.create(t, w.draft())
	d := w.draft()
	d.Repository, d.Viewer = "acme/lib", autobuild.Viewer{UserID: "u1"}
	saved := w.create(t, d)
	if len(saved.Warnings) != 1 || !strings.HasPrefix(saved.Warnings[0], "Another automated build pushes") {
		t.Errorf("got %q, want one warning of another automated build", saved.Warnings)
	}
}

func TestUpdateKeepsValuesThatWereNotTypedAgain(t *testing.T) {
	w := newWorld(t)
	d := w.draft()
	d.Environment = map[string]secret.Secret{"KEPT": password("a"), "CHANGED": password("b"), "GONE": password("c")}
	saved := w.create(t, d)
	d.Environment = map[string]secret.Secret{"KEPT": {}, "CHANGED": password("new"), "ADDED": password("d")}
	d.Rules = append(saved.Rules, autobuild.DefaultRule("develop"))
	d.Rules[1].Tags, d.UserID = "edge", "u2"
	updated, err := w.Update(t.Context(), saved.ID, d)
	must(t, err)
	var got []string
	for name, value := range updated.Environment {
		got = append(got, name+"="+value.Reveal())
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"ADDED=d", "CHANGED=new", "KEPT=a"}, got); diff != "" {
		t.Error(diff)
	}
	if updated.ID != saved.ID || updated.CreatedBy != "u1" || len(updated.Rules) != 2 ||
		updated.Rules[0].ID != saved.Rules[0].ID ||
		updated.Hook.ID != saved.Hook.ID {
		t.Errorf("%+v", updated)
	}
}

func TestUpdateRefuses(t *testing.T) {
	w := newWorld(t)
	saved := w.create(t, w.draft())
	for field, change := range map[string]func(*catalog.Draft){
		"repository": func(d *catalog.Draft) { d.Repository = "acme/lib" },
		"account":    func(d *catalog.Draft) { d.AccountID = "nobody" },
		"image":      func(d *catalog.Draft) { d.Image = "" },
	} {
		d := w.draft()
		change(&d)
		_, err := w.Update(t.Context(), saved.ID, d)
		if got := fieldsOf(t, err); !slices.Equal(got, []string{field}) {
			t.Errorf("%s: faults in %v", field, got)
		}
	}
	if _, err := w.Update(t.Context(), "none", w.draft()); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("none: %v", err)
	}
}

func TestRulesCanBeEditedWhileBitbucketIsDown(t *testing.T) {
	w := newWorld(t)
	saved := w.create(t, w.draft())
	w.faults.Add(faults.Rule{Fault: faults.Status(400, "")})
	d := w.draft()
	d.Rules[0].Tags = "edge"
	must(t, w.store.BreakAccount(t.Context(), w.alice.ID, w.alice.Version, "revoked"))
	updated, err := w.Update(t.Context(), saved.ID, d)
	must(t, err)
	if updated.Rules[0].Tags != "edge" || updated.Hook.State != autobuild.HookActive {
		t.Errorf("tags %q, webhook %s: %s", updated.Rules[0].Tags, updated.Hook.State, updated.Hook.Problem)
	}
}
