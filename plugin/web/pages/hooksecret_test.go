package pages_test

import (
	"net/http"
	"strings"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/web/pages/pagestest"
)

func TestReplacingAWebhookSecret(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	page := "/automated-builds/" + s.App.ID
	s.get(t, autobuild.RoleAdmin, page).want(t, http.StatusOK, "Replace secret")
	if r := s.get(t, pagestest.Writer, page); strings.Contains(r.Text, "Replace secret") {
		t.Error("button for a member: got one, want none")
	}
	s.post(t, pagestest.Writer, page+"/webhook/rotate").want(t, http.StatusForbidden)
	asked := s.get(t, autobuild.RoleAdmin, page+"/webhook/rotate")
	asked.want(t, http.StatusOK, "Replace the webhook secret of acme/app?", "works for 24 more hours")
	checkPage(t, asked)
	s.post(t, autobuild.RoleAdmin, page+"/webhook/rotate").wantRedirect(t, page+"?done=rotated")
	after := s.get(t, autobuild.RoleAdmin, page+"?done=rotated")
	after.want(
		t,
		http.StatusOK,
		"secret is replaced.",
		"The old secret works until "+pagestest.Start.AddDate(0, 0, 1).Format("2006-01-02 15:04:05"),
	)
	checkPage(t, after)
	if strings.Contains(after.Text, pagestest.ReplacedSecret) {
		t.Error("page of a webhook that the gateway manages: got the new secret, want none")
	}
	s.post(t, autobuild.RoleAdmin, page+"/webhook/rotate").
		want(t, http.StatusConflict, "less than 24 hours ago: try again after")
}

// If the webhook was added by hand, the page shows the new secret and the deadline to paste it.
func TestReplacingASecretByHand(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	page := "/automated-builds/" + s.Worker.ID
	shown := s.follow(t, autobuild.RoleAdmin, s.post(t, autobuild.RoleAdmin, page+"/webhook/rotate"))
	shown.want(t, http.StatusOK, pagestest.ReplacedSecret, "paste the new secret at Bitbucket before that")
	checkPage(t, shown)
	if got := shown.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control: got %q, want no-store", got)
	}
}
