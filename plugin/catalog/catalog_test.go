package catalog_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest/faults"
	"slipway/plugin/catalog"
)

func TestBrowseFromWorkspaceToDockerfile(t *testing.T) {
	e := newEnv(t)
	commit(
		t,
		e.app,
		"main",
		map[string]string{"Dockerfile": "FROM scratch\n", "svc/a/Dockerfile": "FROM scratch\n", "README.md": "hi"},
	)
	workspaces, err := e.Workspaces(t.Context(), e.alice.ID)
	must.Succeed(t, err)
	if len(workspaces) != 1 {
		t.Fatalf("number of workspaces: got %d, want 1 (%v)", len(workspaces), workspaces)
	}
	if workspaces[0].Slug != "acme" {
		t.Errorf(`slug: got %q, want "acme"`, workspaces[0].Slug)
	}
	repositories, next, err := e.Repositories(t.Context(), e.alice.ID, "acme", "app", "")
	must.Succeed(t, err)
	if len(repositories) != 1 {
		t.Fatalf("number of repositories: got %d, want 1 (%v)", len(repositories), repositories)
	}
	if repositories[0].FullName != "acme/app" {
		t.Errorf(`full name: got %q, want "acme/app"`, repositories[0].FullName)
	}
	if next != "" {
		t.Errorf(`next page: got %q, want ""`, next)
	}
	r, files, err := e.Dockerfiles(t.Context(), e.alice.ID, "acme/app")
	must.Succeed(t, err)
	if diff := cmp.Diff([]string{"Dockerfile", "svc/a/Dockerfile"}, files); diff != "" {
		t.Errorf("Dockerfiles (-want +got):\n%s", diff)
	} else if r.DefaultBranch != "main" {
		t.Errorf(`default branch: got %q, want "main"`, r.DefaultBranch)
	}
	if _, files, err := e.Dockerfiles(t.Context(), e.alice.ID, "acme/lib"); err != nil {
		t.Fatalf("Dockerfiles: got error %v, want none", err)
	} else if files != nil {
		t.Errorf("files: got %v, want nil", files)
	}
}

func TestBrowsingReportsMissingRows(t *testing.T) {
	e := newEnv(t)
	if _, err := e.Workspaces(t.Context(), "nobody"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("workspaces: got error %v, want %v", err, autobuild.ErrNotFound)
	}
	if _, _, err := e.Repositories(t.Context(), "nobody", "acme", "", ""); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("repositories: got error %v, want %v", err, autobuild.ErrNotFound)
	}
	if _, _, err := e.Dockerfiles(t.Context(), "nobody", "acme/app"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("dockerfiles: got error %v, want %v", err, autobuild.ErrNotFound)
	}
	if _, _, err := e.Dockerfiles(t.Context(), e.alice.ID, "acme/none"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("dockerfiles of no repository: got error %v, want %v", err, autobuild.ErrNotFound)
	}
}

func TestCreateStoresTheDraftWithDefaults(t *testing.T) {
	e := newEnv(t)
	commit(t, e.app, "main", nil)
	d := e.draft()
	d.Rules, d.Environment = nil, map[string]secret.Secret{"NPM_MODE": password("ci")}
	saved := e.create(t, d)
	stored, err := e.store.AutomatedBuild(t.Context(), saved.ID)
	must.Succeed(t, err)
	if stored.Image != e.registry+"/acme/app" {
		t.Errorf("image: got %v, want %v", stored.Image, e.registry+"/acme/app")
	}
	if stored.Engine != "embedded" {
		t.Errorf(`engine: got %q, want "embedded"`, stored.Engine)
	}
	if stored.Autotest != autobuild.AutotestOff {
		t.Errorf("autotest: got %v, want %v", stored.Autotest, autobuild.AutotestOff)
	}
	if stored.CreatedBy != "u1" {
		t.Errorf(`creator: got %q, want "u1"`, stored.CreatedBy)
	}
	if len(stored.Rules) != 1 {
		t.Fatalf("number of rules: got %d, want 1 (%v)", len(stored.Rules), stored.Rules)
	}
	if stored.Rules[0].Source != "main" {
		t.Errorf(`source: got %q, want "main"`, stored.Rules[0].Source)
	}
	if stored.Rules[0].Tags != "latest" {
		t.Errorf(`tags: got %q, want "latest"`, stored.Rules[0].Tags)
	}
	if stored.Rules[0].ID == "" {
		t.Error("rule ID: got none, want one")
	}
	if stored.Repository.ID != e.app.UUID {
		t.Errorf("repository ID: got %v, want %v", stored.Repository.ID, e.app.UUID)
	}
	if stored.Environment["NPM_MODE"].Reveal() != "ci" {
		t.Errorf(`NPM_MODE: got %q, want "ci"`, stored.Environment["NPM_MODE"].Reveal())
	}
	if len(saved.Warnings) > 0 {
		t.Errorf("warnings: got %d, want none", len(saved.Warnings))
	}
}

func TestCreateReportsAllInvalidFieldsAndStoresNothing(t *testing.T) {
	e := newEnv(t)
	d := e.draft()
	d.Image, d.Engine = "Registry/App:latest", "jenkins"
	d.Rules = []autobuild.Rule{{SourceType: autobuild.Tag, Source: "/(/", Tags: "latest"}}
	d.Environment = map[string]secret.Secret{"A B": {}, "SLIPWAY_X": {}, "BIG": password(strings.Repeat("x", 33<<10))}
	_, err := e.Create(t.Context(), d)
	want := []string{"image", "engine", "rules[0].source", "environment", "environment", "environment"}
	if diff := cmp.Diff(want, fieldsOf(t, err)); diff != "" {
		t.Errorf("fields of the error %v (-want +got):\n%s", err, diff)
	}
	if all, err := e.store.AutomatedBuilds(t.Context()); err != nil {
		t.Fatalf("automated builds: got error %v, want none", err)
	} else if len(all) > 0 {
		t.Errorf("automated builds: got %d, want none", len(all))
	} else if len(e.app.Hooks()) > 0 {
		t.Errorf("webhooks: got %d, want none", len(e.app.Hooks()))
	}
}

// Each push would build the image twice.
func TestASecondAutomatedBuildOfAnImageNeedsAnAnswer(t *testing.T) {
	e := newEnv(t)
	asking := e.draft()
	asking.Duplicate = false
	first := e.create(t, asking)
	_, err := e.Create(t.Context(), asking)
	if diff := cmp.Diff([]string{"duplicate"}, fieldsOf(t, err)); diff != "" {
		t.Errorf("fields of the error %v (-want +got):\n%s", err, diff)
	}
	second := e.create(t, e.draft())
	_, err = e.Update(t.Context(), second.ID, asking) // it was a duplicate before
	must.Succeed(t, err)
	other := asking
	other.Image += "-other"
	_, err = e.Update(t.Context(), second.ID, other)
	must.Succeed(t, err)
	_, err = e.Update(t.Context(), second.ID, asking)
	if diff := cmp.Diff([]string{"duplicate"}, fieldsOf(t, err)); diff != "" {
		t.Errorf("fields of the error %v of a changed image (-want +got):\n%s", err, diff)
	}
	_, err = e.Update(t.Context(), first.ID, asking)
	must.Succeed(t, err)
}

// No form offers autotest. A stored setting is kept for a version that tests pull requests.
func TestAStoredAutotestIsKept(t *testing.T) {
	e := newEnv(t)
	saved, err := e.Create(t.Context(), e.draft())
	must.Succeed(t, err)
	stored := saved.AutomatedBuild
	stored.Autotest = autobuild.AutotestAll
	_, err = e.store.SaveAutomatedBuild(t.Context(), stored)
	must.Succeed(t, err)
	updated, err := e.Update(t.Context(), saved.ID, e.draft())
	must.Succeed(t, err)
	if updated.Autotest != autobuild.AutotestAll {
		t.Errorf("autotest: got %q, want %q", updated.Autotest, autobuild.AutotestAll)
	}
}

func TestTheEngineIsOneThatIsConfigured(t *testing.T) {
	e := newEnv(t)
	several := e.with(func(o *catalog.Options) { o.Engines = []string{"embedded", "drone"} })
	d := e.draft()
	d.Engine = "drone"
	saved, err := several.Create(t.Context(), d)
	must.Succeed(t, err)
	stored, err := e.store.AutomatedBuild(t.Context(), saved.ID)
	if err != nil {
		t.Fatalf("automated build: got error %v, want none", err)
	}
	if stored.Engine != "drone" {
		t.Errorf(`engine: got %q, want "drone"`, stored.Engine)
	}
	d.Engine = "woodpecker"
	_, err = several.Update(t.Context(), saved.ID, d)
	if diff := cmp.Diff(
		[]string{"engine"},
		fieldsOf(t, err),
	); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	} else if !strings.Contains(err.Error(), `"woodpecker" is not configured here`) {
		t.Errorf("update: got %q, want it to contain %q", err.Error(), `"woodpecker" is not configured here`)
	}
}

func fieldsOf(t *testing.T, err error) (fields []string) {
	t.Helper()
	var wrong *catalog.Invalid
	if !errors.As(err, &wrong) {
		t.Fatalf("error: got %v, want *catalog.Invalid", err)
	}
	for _, f := range wrong.Fields {
		fields = append(fields, f.Field)
	}
	if len(wrong.Error()) == 0 {
		t.Error("text of the error: got none, want the wrong fields")
	}
	return fields
}

func TestCreateReportsAMissingRepository(t *testing.T) {
	e := newEnv(t)
	for field, change := range map[string]func(*catalog.Draft){
		"account":     func(d *catalog.Draft) { d.AccountID = "nobody" },
		"repository":  func(d *catalog.Draft) { d.Repository = "acme/none" },
		"rules":       func(d *catalog.Draft) { d.Rules = nil }, // of an empty repository
		"environment": func(d *catalog.Draft) { d.Environment = many(101) },
	} {
		d := e.draft()
		change(&d)
		_, err := e.Create(t.Context(), d)
		if got := fieldsOf(t, err); !slices.Equal(got, []string{field}) {
			t.Errorf("%s: got faults in %v, want %v", field, got, []string{field})
		}
	}
}

// Variables that the runner would reject are invalid fields of the form.
func TestEnvironmentIsCheckedLikeTheRunner(t *testing.T) {
	e := newEnv(t)
	for _, name := range []string{
		"PATH", "LD_PRELOAD", "GIT_SSH_COMMAND", "DOCKER_TAG", "SLIPWAY_X", "A B", strings.Repeat("A", 129),
	} {
		d := e.draft()
		d.Environment = map[string]secret.Secret{name: password("canary")}
		_, err := e.Create(t.Context(), d)
		if got := fieldsOf(
			t,
			err,
		); !slices.Equal(got, []string{"environment"}) {
			t.Errorf("%s: got %v, want %v", name, got, []string{"environment"})
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf(`%s: got %q, want it not to contain "canary"`, name, err.Error())
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

func TestCreateWarnsIfThePushWillFail(t *testing.T) {
	e := newEnv(t)
	e.create(t, e.draft())
	d := e.draft()
	d.Repository, d.Viewer = "acme/lib", autobuild.Viewer{Administrator: true}
	saved := e.create(t, d)
	if len(saved.Warnings) != 1 {
		t.Fatalf("number of warnings: got %d, want 1 (%v)", len(saved.Warnings), saved.Warnings)
	}
	if !strings.Contains(saved.Warnings[0], "acme/app also pushes") {
		t.Errorf(`warnings: got %q, want it to contain "acme/app also pushes"`, saved.Warnings[0])
	}
	d.Image = "127.0.0.1:1/acme/lib"
	if saved := e.create(
		t,
		d,
	); len(saved.Warnings) != 1 {
		t.Fatalf("number of warnings: got %d, want 1 (%v)", len(saved.Warnings), saved.Warnings)
	} else if !strings.Contains(saved.Warnings[0], "No registry credential matches it") {
		t.Errorf(`warnings: got %q, want it to contain "No registry credential matches it"`, saved.Warnings[0])
	}
	refusing := e.with(func(o *catalog.Options) {
		o.Registry = checker(func(string, autobuild.Registry) error { return errors.New("it is wrong") })
	})
	_, err := refusing.SaveRegistry(
		t.Context(),
		autobuild.Registry{Host: "registry.example.com", Username: "ada", Password: password("x")},
	)
	must.Succeed(t, err)
	d.Image = "registry.example.com/acme/lib"
	if saved, err := refusing.Create(
		t.Context(),
		d,
	); err != nil {
		t.Fatalf("create: got error %v, want none", err)
	} else if len(saved.Warnings) != 1 {
		t.Fatalf("number of warnings: got %d, want 1 (%v)", len(saved.Warnings), saved.Warnings)
	} else if !strings.Contains(saved.Warnings[0], "Check the credential of registry.example.com") {
		t.Errorf(
			`warnings: got %q, want it to contain "Check the credential of registry.example.com"`,
			saved.Warnings[0],
		)
	}
}

// A warning names no repository that the user may not read.
func TestWarningsNameNoOtherRepository(t *testing.T) {
	e := newEnv(t)
	e.create(t, e.draft())
	d := e.draft()
	d.Repository, d.Viewer = "acme/lib", autobuild.Viewer{UserID: "u1"}
	saved := e.create(t, d)
	if len(saved.Warnings) != 1 {
		t.Fatalf("number of warnings: got %d, want 1 (%v)", len(saved.Warnings), saved.Warnings)
	}
	if !strings.HasPrefix(saved.Warnings[0], "Another automated build also pushes") {
		t.Errorf(`warnings: got %q, want the prefix "Another automated build also pushes"`, saved.Warnings[0])
	}
}

func TestUpdateKeepsStoredValues(t *testing.T) {
	e := newEnv(t)
	d := e.draft()
	d.Environment = map[string]secret.Secret{"KEPT": password("a"), "CHANGED": password("b"), "GONE": password("c")}
	saved := e.create(t, d)
	d.Environment = map[string]secret.Secret{"KEPT": {}, "CHANGED": password("new"), "ADDED": password("d")}
	d.Rules = append(saved.Rules, autobuild.DefaultRule("develop"))
	d.Rules[1].Tags, d.UserID = "edge", "u2"
	updated, err := e.Update(t.Context(), saved.ID, d)
	must.Succeed(t, err)
	var got []string
	for name, value := range updated.Environment {
		got = append(got, name+"="+value.Reveal())
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"ADDED=d", "CHANGED=new", "KEPT=a"}, got); diff != "" {
		t.Error(diff)
	}
	if updated.ID != saved.ID {
		t.Errorf("ID: got %v, want %v", updated.ID, saved.ID)
	}
	if updated.CreatedBy != "u1" {
		t.Errorf(`creator: got %q, want "u1"`, updated.CreatedBy)
	}
	if len(updated.Rules) != 2 {
		t.Fatalf("number of rules: got %d, want 2 (%v)", len(updated.Rules), updated.Rules)
	}
	if updated.Rules[0].ID != saved.Rules[0].ID {
		t.Errorf("rule ID: got %v, want %v", updated.Rules[0].ID, saved.Rules[0].ID)
	}
	if updated.Hook.ID != saved.Hook.ID {
		t.Errorf("webhook ID: got %v, want %v", updated.Hook.ID, saved.Hook.ID)
	}
}

func TestUpdateRefuses(t *testing.T) {
	e := newEnv(t)
	saved := e.create(t, e.draft())
	for field, change := range map[string]func(*catalog.Draft){
		"repository": func(d *catalog.Draft) { d.Repository = "acme/lib" },
		"account":    func(d *catalog.Draft) { d.AccountID = "nobody" },
		"image":      func(d *catalog.Draft) { d.Image = "" },
	} {
		d := e.draft()
		change(&d)
		_, err := e.Update(t.Context(), saved.ID, d)
		if got := fieldsOf(t, err); !slices.Equal(got, []string{field}) {
			t.Errorf("%s: got faults in %v, want %v", field, got, []string{field})
		}
	}
	if _, err := e.Update(t.Context(), "none", e.draft()); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("none: got error %v, want %v", err, autobuild.ErrNotFound)
	}
}

func TestRulesCanBeEditedWhileBitbucketIsDown(t *testing.T) {
	e := newEnv(t)
	saved := e.create(t, e.draft())
	e.faults.Add(faults.Rule{Fault: faults.Status(400, "")})
	d := e.draft()
	d.Rules[0].Tags = "edge"
	must.Succeed(t, e.store.BreakAccount(t.Context(), e.alice.ID, e.alice.Version, "revoked"))
	updated, err := e.Update(t.Context(), saved.ID, d)
	must.Succeed(t, err)
	if updated.Rules[0].Tags != "edge" {
		t.Errorf(`tags: got %q, want "edge"`, updated.Rules[0].Tags)
	}
	if updated.Hook.State != autobuild.HookActive {
		t.Errorf("webhook state: got %v, want %v", updated.Hook.State, autobuild.HookActive)
	}
}
