package pages_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/web/pages/pagestest"
)

func TestAutomatedBuildsAreSearched(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	for query, want := range map[string]string{
		"": "acme/app acme/docs acme/worker", "?search=WORK": "acme/worker", "?search=docker.io": "acme/docs",
		"?state=active": "acme/app acme/worker", "?state=failed": "", "?search=zzz": "",
	} {
		r := s.get(t, pagestest.Reader, "/automated-builds"+query)
		var names []string
		for _, a := range find(r.main(), "a") {
			if attr(a, "class") == "go" {
				names = append(names, words(a))
			}
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q shows %q, want %q", query, got, want)
		}
	}
	r := s.get(t, pagestest.Reader, "/automated-builds")
	r.want(t, http.StatusOK, "polled, no webhook", "no webhook: pushes are not received")
	bars := 0
	for _, n := range find(r.main(), "rect") {
		if n.Parent.Data == "svg" && attr(n, "height") != "0" {
			bars++
		}
	}
	if bars != 12 {
		t.Errorf("columns in the sparklines: got %d, want 10 and 2", bars)
	}
}

func TestAutomatedBuildShowsItsWebhook(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	s.get(t, pagestest.Reader, "/automated-builds/"+s.App.ID).
		want(t, http.StatusOK,
			"active", "last delivery", `{\1}.{\2},{\1},latest`, "when svc/** changed", "VERSION={sourceref}")
	polled := s.get(t, autobuild.RoleAdmin, "/automated-builds/"+s.Worker.ID)
	polled.want(t, http.StatusOK, "polled every 5 min", "not an administrator", "/hooks/bitbucket/", "Show secret")
	if !strings.Contains(polled.Text, `href="https://bitbucket.org/acme/worker/admin/webhooks"`) {
		t.Error("link to the settings for the webhook: got none, want one")
	}
	shown := s.follow(
		t,
		autobuild.RoleAdmin,
		s.post(t, autobuild.RoleAdmin, "/automated-builds/"+s.Worker.ID+"/secret"),
	)
	shown.want(t, http.StatusOK, pagestest.WebhookSecret)
	if shown.Header.Get("Cache-Control") != "no-store" {
		t.Error("Cache-Control of the secret: got another value, want no-store")
	}
	s.post(t, autobuild.RoleAdmin, "/automated-builds/"+s.Worker.ID+"/webhook").
		wantRedirect(t, "/automated-builds/"+s.Worker.ID+"?done=hook")
	s.get(t, autobuild.RoleAdmin, "/automated-builds/"+s.Worker.ID).
		want(t, http.StatusOK, "active", "no delivery yet")
}

// What polls found and did not act on is on the page, with a button to build it.
func TestAutomatedBuildShowsWhatPollsFound(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	path := "/automated-builds/" + s.App.ID
	if before := s.get(t, pagestest.Writer, path); strings.Contains(before.Text, "Not built again") {
		t.Error("list of refs that reappeared: got one, want none")
	}
	must.Succeed(t, s.Store.SetListingProblem(t.Context(), s.Hook.ID, "The last list of tags has 0 of 40 known ones."))
	tag := autobuild.Ref{Kind: autobuild.Tag, Name: "v9.9"}
	rule := ""
	for _, r := range s.App.Rules {
		if r.SourceType == autobuild.Tag {
			rule = r.ID
		}
	}
	_, err := s.Store.Plan(
		t.Context(),
		autobuild.Plan{Repository: s.App.Repository, Reappeared: []autobuild.ReappearedRef{
			{AutomatedBuildID: s.App.ID, RuleID: rule, Ref: tag, Commit: strings.Repeat("a", 40), BuildNumber: 1},
			{AutomatedBuildID: s.App.ID, RuleID: "removed", Ref: tag, Commit: strings.Repeat("a", 40), BuildNumber: 1},
		}},
	)
	must.Succeed(t, err)
	read := s.get(t, pagestest.Reader, path)
	read.want(t, http.StatusOK, "Not built again", "v9.9", "aaaaaaa", "has 0 of 40 known ones")
	if strings.Contains(words(read.main()), "Build v9.9") {
		t.Error("button for a reader: got one, want none")
	}
	page := s.get(t, pagestest.Writer, path)
	if n := strings.Count(words(page.main()), "Build v9.9"); n != 1 {
		t.Errorf("buttons to build v9.9: got %d, want 1, for the rule that exists", n)
	}
}

func TestBuildsAreStartedByHand(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	start := "/automated-builds/" + s.App.ID + "/start"
	wrong := s.post(t, pagestest.Writer, start, "rule", "releases", "ref", "", "key", "k")
	wrong.want(t, http.StatusUnprocessableEntity, "enter the tag to build", "Please fix this error")
	if wrong.value(t, "rule") != "releases" {
		t.Error("chosen rule: got none, want it kept")
	}
	s.post(t, pagestest.Writer, start, "ref", "main").want(t, http.StatusUnprocessableEntity, "Choose a rule")
	s.post(t, pagestest.Writer, start, "rule", "gone").
		want(t, http.StatusUnprocessableEntity, "This rule no longer exists")
	first := s.post(t, pagestest.Writer, start, "rule", "releases", "ref", "v9.9", "key", "one")
	second := s.post(t, pagestest.Writer, start, "rule", "releases", "ref", "v9.9", "key", "one")
	if first.Header.Get("Location") != second.Header.Get("Location") {
		t.Errorf("Location: got %v, want %v", first.Header.Get("Location"), second.Header.Get("Location"))
	}
	if first.StatusCode != http.StatusSeeOther {
		t.Errorf("status: got %v, want %v", first.StatusCode, http.StatusSeeOther)
	}
	s.Services.Fail(autobuild.FieldError{Field: "ref", Message: "there is no tag v9.9"})
	s.post(t, pagestest.Writer, start, "rule", "releases", "ref", "v9.9").
		want(t, http.StatusUnprocessableEntity, "There is no tag v9.9.")
	s.Services.Fail(fmt.Errorf("bitbucket: %w", autobuild.ErrUnauthorized))
	s.post(t, pagestest.Writer, start, "rule", "default").want(t, http.StatusUnprocessableEntity, "link it again")
}

func TestDeletingAsksForTheName(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	where := "/automated-builds/" + s.Worker.ID + "/delete"
	s.get(t, autobuild.RoleAdmin, where).want(t, http.StatusOK, "Type acme/worker to confirm")
	s.post(t, autobuild.RoleAdmin, where, "name", "acme/app").
		want(t, http.StatusUnprocessableEntity, "Type acme/worker to confirm.")
	s.post(t, autobuild.RoleAdmin, where, "name", " acme/worker ").wantRedirect(t, "/automated-builds?done=deleted")
	s.get(t, autobuild.RoleAdmin, where).want(t, http.StatusNotFound)
	s.get(t, pagestest.Reader, path(s.Broken, "")).want(t, http.StatusOK, "Builds acme/worker", "Build 11")
}

func TestWizardLeadsStepByStep(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	links := func(address string) map[string]string {
		t.Helper()
		r := s.get(t, autobuild.RoleAdmin, address)
		r.want(t, http.StatusOK)
		all := map[string]string{}
		for _, a := range find(r.main(), "a") {
			all[words(a)] = attr(a, "href")
		}
		return all
	}
	workspace := links(links("/automated-builds/new")["alice linked through OAuth"])["acme"]
	first := links(workspace)
	if first["acme/app public"] == "" {
		t.Fatal("link for acme/app: got none, want one")
	}
	if first["acme/docs public"] != "" {
		t.Fatalf(`acme/docs public: got %q, want ""`, first["acme/docs public"])
	}
	if second := links(first["More repositories"]); second["acme/docs public"] == "" {
		t.Errorf("links of the second page: got %v, want acme/docs", second)
	}
	if found := links(workspace + "&search=tool"); found["acme/tools public"] == "" {
		t.Error("link for acme/tools: got none, want one")
	} else if found["acme/app public"] != "" {
		t.Errorf(`acme/app public: got %q, want ""`, found["acme/app public"])
	}
	docs := links(links(workspace + "&search=docs")["acme/docs public"])
	nested := s.get(t, autobuild.RoleAdmin, docs["site/Dockerfile"])
	nested.want(t, http.StatusOK, "Stored credentials: docker.io/acme (rejected) , registry.example.com .")
	got := map[string]string{}
	for _, name := range []string{"source_type", "source", "tags", "dockerfile", "context", "autobuild"} {
		got[name] = nested.value(t, "rules[0]."+name)
	}
	want := map[string]string{
		"source_type": "branch",
		"source":      "main",
		"tags":        "latest",
		"dockerfile":  "site/Dockerfile",
		"context":     "",
		"autobuild":   "on",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	s.get(t, autobuild.RoleAdmin, links(workspace + "&search=tool")["acme/tools public"]).
		want(t, http.StatusOK, "No Dockerfile found", "Continue without Dockerfile")
	// A token of one repository needs neither workspace nor repository.
	s.get(t, autobuild.RoleAdmin, links("/automated-builds/new")["docs token repository access token"]).
		want(t, http.StatusOK, "Choose a Dockerfile")
	s.Services.Fail(fmt.Errorf("connect: %w", autobuild.ErrUnauthorized))
	for _, step := range []string{"", "&workspace=acme", "&repository=acme/app"} {
		s.get(t, autobuild.RoleAdmin, "/automated-builds/new?account="+s.Account.ID+step).
			want(t, http.StatusBadGateway, "link it again")
	}
	s.get(t, autobuild.RoleAdmin, "/automated-builds/new?account=none").want(t, http.StatusNotFound)
}

// draft returns the values of the form for a new automated build.
func draft(s *env, change ...string) []string {
	form := url.Values{}
	for i, all := 0, append([]string{
		"account", s.Account.ID, "repository", "acme/tools", "default_branch", "main", "dockerfile", "Dockerfile",
		"image", "registry.example.com/acme/tools",
		"rules[0].source_type", "branch", "rules[0].source", "main", "rules[0].tags", "latest", "rules[0].dockerfile",
		"Dockerfile", "rules[0].context", "/",
		"rules[0].autobuild", "on", "rules[0].build_args", "A=1\r\nB=x=y", "rules[0].platforms",
		"linux/amd64, linux/arm64", "rules[0].paths", "svc/**\n\nweb/**",
	}, change...); i < len(all); i += 2 {
		form.Set(all[i], all[i+1])
	}
	var values []string
	for name, v := range form {
		values = append(values, name, v[0])
	}
	return values
}

// The switch of the hooks is kept in the form, stored, and shown on the page.
func TestADraftTurnsHooksOff(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	create := "/automated-builds/new"
	more := s.post(t, autobuild.RoleAdmin, create, draft(s, "hooks", "off", "add-rule", "1")...)
	if got := more.value(t, "hooks"); got != "off" {
		t.Errorf("choice of build hooks: got %q, want off", got)
	}
	saved := s.post(t, autobuild.RoleAdmin, create, draft(s, "hooks", "off", "then", "save")...)
	page, _, _ := strings.Cut(saved.Header.Get("Location"), "?")
	s.get(t, autobuild.RoleAdmin, page).want(t, http.StatusOK, "Build hooks off")
	if got := s.get(t, autobuild.RoleAdmin, page+"/edit").value(t, "hooks"); got != "off" {
		t.Errorf("choice of the stored automated build: got %q, want off", got)
	}
}

func TestDraftsKeepEnteredValues(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	create := "/automated-builds/new"
	wrong := s.post(t, autobuild.RoleAdmin, create, draft(s, "image", "tools")...)
	wrong.want(t, http.StatusUnprocessableEntity, "Name the registry too")
	checkPage(t, wrong)
	for name, want := range map[string]string{
		"image": "tools", "rules[0].source": "main", "rules[0].caching": "", "rules[0].autobuild": "on",
		"rules[0].build_args": "A=1 B=x=y", "repository": "acme/tools", "dockerfile": "Dockerfile",
	} {
		if got := wrong.value(t, name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for _, n := range find(wrong.Page, "input") {
		if attr(n, "name") == "image" &&
			(attr(n, "aria-invalid") != "true" || !strings.Contains(attr(n, "aria-describedby"), "image-fault")) {
			t.Errorf("invalid field: got attributes %v, want aria-invalid and image-fault", n.Attr)
		}
	}
	more := s.post(t, autobuild.RoleAdmin, create, draft(s, "add-rule", "1")...)
	more.want(t, http.StatusOK)
	checkPage(t, more)
	if more.value(t, "rules[1].tags") != "{sourceref}" {
		t.Errorf(`field rules[1].tags: got %q, want "{sourceref}"`, more.value(t, "rules[1].tags"))
	}
	if more.value(t, "rules[0].source") != "main" {
		t.Errorf(`field rules[0].source: got %q, want "main"`, more.value(t, "rules[0].source"))
	}
	less := s.post(
		t,
		autobuild.RoleAdmin,
		create,
		draft(s, "rules[1].source", "dev", "rules[1].source_type", "branch", "remove-rule", "0")...)
	if less.value(t, "rules[0].source") != "dev" {
		t.Errorf(`field rules[0].source: got %q, want "dev"`, less.value(t, "rules[0].source"))
	}
	if strings.Contains(less.Text, "rules[1]") {
		t.Errorf(`text: got %q, want it not to contain "rules[1]"`, less.Text)
	}
	variable := s.post(t, autobuild.RoleAdmin, create, draft(s, "add-variable", "1")...)
	checkPage(t, variable)
	variable.value(t, "environment[0].name")
	s.post(t, autobuild.RoleAdmin, create, draft(s, "environment[0].name", "TOKEN", "environment[0].value", "")...).
		want(t, http.StatusUnprocessableEntity, "Enter the value of TOKEN")
	s.post(t, autobuild.RoleAdmin, create, draft(s, "rules[0].build_args", "nonsense")...).
		want(t, http.StatusUnprocessableEntity, `Write "nonsense" as NAME=value.`)
}

func TestDraftsAreSaved(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	saved := s.post(
		t,
		autobuild.RoleAdmin,
		"/automated-builds/new",
		draft(s, "environment[0].name", "TOKEN", "environment[0].value", "sesame", "then", "save")...)
	id, _, _ := strings.Cut(strings.TrimPrefix(saved.Header.Get("Location"), "/automated-builds/"), "?")
	a, err := s.Store.AutomatedBuild(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	want := autobuild.Rule{
		SourceType: autobuild.Branch,
		Source:     "main",
		Tags:       "latest",
		Context:    "/",
		Dockerfile: "Dockerfile",
		Autobuild:  true,
		BuildArgs:  map[string]string{"A": "1", "B": "x=y"},
		Platforms:  []string{"linux/amd64", "linux/arm64"},
		Paths:      []string{"svc/**", "web/**"},
	}
	got := a.Rules[0]
	got.ID = ""
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if a.Environment["TOKEN"].Reveal() != "sesame" {
		t.Errorf(`TOKEN: got %q, want "sesame"`, a.Environment["TOKEN"].Reveal())
	}
	if a.CreatedBy != s.Users[autobuild.RoleAdmin].ID {
		t.Errorf("creator: got %v, want %v", a.CreatedBy, s.Users[autobuild.RoleAdmin].ID)
	}
	s.get(t, autobuild.RoleAdmin, saved.Header.Get("Location")).want(t, http.StatusOK, "The automated build is saved.")
	built := s.post(
		t,
		autobuild.RoleAdmin,
		"/automated-builds/new",
		draft(s, "image", "registry.example.com/acme/tools2", "then", "build")...)
	built.wantRedirect(t, fmt.Sprintf("/builds/%d?done=created", s.Waiting.Number+1))
	warned := s.follow(t, autobuild.RoleAdmin,
		s.post(t, autobuild.RoleAdmin, "/automated-builds/new", draft(s, "image", "nobody.example.com/tools")...))
	warned.want(t, http.StatusOK, "acme/tools is saved", "No credential is stored for nobody.example.com.")
}

func TestEditing(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	edit := "/automated-builds/" + s.App.ID + "/edit"
	form := s.get(t, autobuild.RoleAdmin, edit)
	form.want(t, http.StatusOK)
	if form.value(t, "rules[1].source") != `/^v([0-9]+)\.([0-9]+)$/` {
		t.Errorf(
			"field rules[1].source: got %q, want %q",
			form.value(t, "rules[1].source"),
			`/^v([0-9]+)\.([0-9]+)$/`,
		)
	}
	if form.value(t, "environment[0].name") != "NPM_MODE" {
		t.Errorf(`field environment[0].name: got %q, want "NPM_MODE"`, form.value(t, "environment[0].name"))
	}
	if form.value(t, "environment[0].value") != "" {
		t.Errorf(`field environment[0].value: got %q, want ""`, form.value(t, "environment[0].value"))
	}
	if form.value(t, "account") != s.Account.ID {
		t.Errorf("field account: got %v, want %v", form.value(t, "account"), s.Account.ID)
	}
	values := draft(
		s,
		"environment[0].name",
		"NPM_MODE",
		"environment[0].stored",
		"on",
		"environment[0].value",
		"",
		"account",
		s.Token.ID,
	)
	s.post(t, autobuild.RoleAdmin, edit, append(values, "add-rule", "1")...).want(t, http.StatusOK, "Edit acme/app")
	s.post(t, autobuild.RoleAdmin, edit, append(values, "image", "")...).want(t, http.StatusSeeOther)
	a, err := s.Store.AutomatedBuild(t.Context(), s.App.ID)
	if err != nil {
		t.Fatal(err)
	}
	if a.AccountID != s.Token.ID {
		t.Errorf("account ID: got %v, want %v", a.AccountID, s.Token.ID)
	}
	if len(a.Rules) != 1 {
		t.Errorf("number of rules: got %d, want 1 (%v)", len(a.Rules), a.Rules)
	}
	if _, kept := a.Environment["NPM_MODE"]; !kept {
		t.Error("variable: got none, want it kept")
	}
	s.post(t, autobuild.RoleAdmin, edit, draft(s, "image", "x")...).
		want(t, http.StatusUnprocessableEntity, "Name the registry too")
}
