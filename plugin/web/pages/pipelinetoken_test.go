package pages_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/web/pages/pagestest"
)

func TestPipelineTokensAreShownOnce(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	page := "/automated-builds/" + s.App.ID
	if r := s.get(t, autobuild.RoleAdmin, page); strings.Contains(r.Text, "own pipeline") {
		t.Error("page of another engine: got a description of the pipeline step, want none")
	}
	s.App.Engine = "own"
	if _, err := s.Store.SaveAutomatedBuild(t.Context(), s.App); err != nil {
		t.Fatal(err)
	}
	s.get(t, autobuild.RoleAdmin, page).
		want(t, http.StatusOK, "own: a step in the repository's own pipeline", "Create token",
			"gateway: "+pagestest.URL, "automated_build: "+s.App.ID, "from_secret: slipway_token",
			"from_secret: registry_password", "privileged: true", "WOODPECKER_PLUGINS_PRIVILEGED")
	bound := s.Registry
	bound.ID, bound.AutomatedBuildID = "", s.App.ID
	bound, err := s.Store.SaveRegistry(t.Context(), bound)
	if err != nil {
		t.Fatal(err)
	}
	if r := s.get(t, autobuild.RoleAdmin, page); strings.Contains(r.Text, "registry_password") {
		t.Error("step with a bound credential: got a login, want none")
	}
	if err := s.Store.DeleteRegistry(t.Context(), bound.ID); err != nil {
		t.Fatal(err)
	}
	if r := s.get(t, pagestest.Writer, page); strings.Contains(r.Text, "Create token") {
		t.Error("token for a member: got one, want none")
	}
	var tokens []string
	for range 2 {
		answer := s.post(t, autobuild.RoleAdmin, page+"/pipeline-token")
		shown := s.follow(t, autobuild.RoleAdmin, answer)
		shown.want(t, http.StatusOK, "It is not shown again.", "Replace token")
		checkPage(t, shown)
		if shown.Header.Get("Cache-Control") != "no-store" {
			t.Error("Cache-Control of the token: got another value, want no-store")
		}
		tokens = append(
			tokens,
			regexp.MustCompile(`<code>([A-Za-z0-9_-]{43})</code>`).FindStringSubmatch(shown.Text)[1],
		)
		if again := s.follow(t, autobuild.RoleAdmin, answer); strings.Contains(again.Text, tokens[len(tokens)-1]) {
			t.Error("the page loaded again: got the token, want none")
		}
	}
	check := func(token string) error {
		return s.Store.CheckPipelineToken(t.Context(), s.App.ID, autobuild.TokenHash(secret.New(token)))
	}
	if check(tokens[0]) == nil {
		t.Fatal("check of the first token: got no error, want one")
	}
	if check(tokens[1]) != nil {
		t.Errorf("check of the second token: got %v, want nil", check(tokens[1]))
	}
	later := s.get(t, autobuild.RoleAdmin, page)
	later.want(t, http.StatusOK, "created by Alice Adams", "Revoke token")
	if strings.Contains(later.Text, tokens[1]) {
		t.Error("token on a later page: got it again, want none")
	}
	s.post(t, pagestest.Writer, page+"/pipeline-token/revoke").want(t, http.StatusForbidden)
	s.post(t, autobuild.RoleAdmin, page+"/pipeline-token/revoke").wantRedirect(t, page+"?done=revoked")
	if check(tokens[1]) == nil {
		t.Error("revoked token: got it accepted, want it rejected")
	}
	s.post(t, autobuild.RoleAdmin, "/automated-builds/none/pipeline-token").want(t, http.StatusNotFound)
}

// A token remains visible and can be revoked after the engine is changed.
func TestATokenOfAnotherEngineSaysSo(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	page := "/automated-builds/" + s.App.ID
	s.post(t, autobuild.RoleAdmin, page+"/pipeline-token").want(t, http.StatusSeeOther)
	s.get(t, autobuild.RoleAdmin, page).
		want(t, http.StatusOK, "the engine is embedded, so the step builds nothing", "Revoke token")
}
