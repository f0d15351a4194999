package pages_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"slipway/plugin/autobuild"
	"slipway/plugin/web/pages/pagestest"
)

// addresses are all pages that an administrator of the sample can open.
func addresses(s *env) []string {
	all := []string{
		"/signin",
		"/automated-builds",
		"/automated-builds?search=worker&state=active",
		"/automated-builds?search=nothing",
		"/automated-builds/new",
		"/builds",
		"/builds?state=cancelled",
		"/builds?before=1",
		"/deliveries",
		"/deliveries?before=" + s.Delivery,
		"/deliveries/" + s.Delivery,
		"/setup",
		"/settings/providers",
		"/settings/registries",
		"/settings/engines",
		"/settings/engines?look=drone",
		"/settings/people",
		"/settings/registries/" + s.Registry.ID + "/delete",
		"/settings/providers/bitbucket/token",
		"/settings/accounts/" + s.Account.ID + "/unlink",
		"/automated-builds/new?account=" + s.Account.ID,
		"/automated-builds/new?account=" + s.Account.ID + "&workspace=acme",
		"/automated-builds/new?account=" + s.Account.ID + "&workspace=acme&search=zzz",
		"/builds/99999",
		"/automated-builds/none",
		"/static/none.css",
	}
	for _, repository := range []string{"app", "docs", "tools"} {
		all = append(all, "/automated-builds/new?account="+s.Account.ID+"&repository=acme/"+repository)
	}
	for _, a := range []autobuild.AutomatedBuild{s.App, s.Worker} {
		all = append(
			all,
			"/automated-builds/"+a.ID,
			"/automated-builds/"+a.ID+"/edit",
			"/automated-builds/"+a.ID+"/delete",
		)
	}
	for _, b := range []autobuild.Build{s.Done, s.Broken, s.Live, s.Waiting, s.Errored, s.Undone} {
		all = append(all, fmt.Sprintf("/builds/%d", b.Number))
	}
	return all
}

func TestEveryPageIsValid(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	for _, address := range addresses(s) {
		t.Run(address, func(t *testing.T) {
			r := s.get(t, autobuild.RoleAdmin, address)
			if r.StatusCode >= 500 {
				t.Fatalf("status: got %v, want less than 500", r.StatusCode)
			}
			if r.StatusCode == http.StatusForbidden {
				t.Fatalf("status: got %v, want a permitted request", r.StatusCode)
			}
			if r.StatusCode != http.StatusSeeOther {
				checkPage(t, r)
			}
		})
	}
	for _, address := range []string{
		"/automated-builds", "/builds", "/deliveries", "/setup", "/settings/providers", "/settings/registries",
		"/settings/engines", "/settings/people", "/automated-builds/new", "/signin",
	} {
		t.Run("empty "+address, func(t *testing.T) {
			empty := newEnv(pagestest.Empty(t))
			u, err := empty.Store.SaveUser(t.Context(), autobuild.User{Role: autobuild.RoleAdmin})
			if err != nil {
				t.Fatal(err)
			}
			empty.Users[autobuild.RoleAdmin] = u
			r := empty.get(t, autobuild.RoleAdmin, address)
			r.want(t, http.StatusOK)
			checkPage(t, r)
		})
	}
}

// checkPage checks a page against the rules of browsers, the policy and screen readers.
func checkPage(t *testing.T, r reply) {
	t.Helper()
	ids := map[string]int{}
	for n := range r.Page.Descendants() {
		if id := attr(n, "id"); id != "" {
			if ids[id]++; ids[id] > 1 {
				t.Errorf("id %s: got it twice, want it once", id)
			}
		}
		checkInline(t, n)
	}
	checkLabels(t, r.Page, ids)
	checkTargets(t, r.Page, ids)
	if n := len(find(r.Page, "h1")); n != 1 {
		t.Errorf("h1 elements: got %d, want 1", n)
	}
	for _, landmark := range []string{"header", "main"} {
		if len(find(r.Page, landmark)) == 0 {
			t.Errorf("%s: got none, want one", landmark)
		}
	}
	for _, canary := range []string{
		pagestest.WebhookSecret, pagestest.ClientSecret, pagestest.AccessToken, pagestest.RegistryToken,
		pagestest.EnvironmentVar, pagestest.ExtensionSecret,
	} {
		if strings.Contains(r.Text, canary) {
			t.Errorf("page: got %s in it, want none", canary)
		}
	}
	if strings.Contains(r.Text, "ZgotmplZ") {
		t.Errorf(`text: got %q, want it not to contain "ZgotmplZ"`, r.Text)
	}
	if strings.Contains(r.Text, "<no value>") {
		t.Errorf(`text: got %q, want it not to contain "<no value>"`, r.Text)
	}
}

// checkInline reports markup that the content security policy forbids.
func checkInline(t *testing.T, n *html.Node) {
	t.Helper()
	if n.Type != html.ElementNode {
		return
	}
	for _, a := range n.Attr {
		if a.Key == "style" {
			t.Errorf("attribute: got %q, want no inline style", a.Key)
		}
		if strings.HasPrefix(a.Key, "on") {
			t.Errorf("attribute: got %q, want no inline handler", a.Key)
		}
		if (a.Key == "href" || a.Key == "src" || a.Key == "action") && !strings.HasPrefix(a.Val, "/") &&
			!strings.HasPrefix(a.Val, "#") &&
			!strings.HasPrefix(a.Val, "https://bitbucket.org/") {
			t.Errorf("target of <%s>: got %q, want this site or Bitbucket", n.Data, a.Val)
		}
	}
	if n.Data == "script" && n.FirstChild != nil {
		t.Error("inline script: got one, want none")
	}
	if n.Data == "style" {
		t.Errorf("element: got %q, want no inline style", n.Data)
	}
	if n.Data == "iframe" {
		t.Errorf("element: got %q, want no frame", n.Data)
	}
	if n.Data == "img" {
		t.Errorf("element: got %q, want no image", n.Data)
	}
}

func checkLabels(t *testing.T, page *html.Node, ids map[string]int) {
	t.Helper()
	labelled := map[string]bool{}
	for _, l := range find(page, "label") {
		labelled[attr(l, "for")] = true
		for _, inner := range find(l, "input") {
			labelled["="+attr(inner, "name")] = true
		}
	}
	for _, n := range find(page, "input", "select", "textarea") {
		if attr(n, "type") != "hidden" && !labelled[attr(n, "id")] && !labelled["="+attr(n, "name")] {
			t.Errorf("label of the control %s: got none, want one", attr(n, "name"))
		}
		for id := range strings.FieldsSeq(attr(n, "aria-describedby")) {
			if ids[id] == 0 {
				t.Errorf(
					"description of the control %s: got the unknown id %s, want one of the page",
					attr(n, "name"),
					id,
				)
			}
		}
	}
	for _, n := range find(page, "button", "a") {
		if words(n) == "" && attr(n, "aria-label") == "" {
			t.Errorf("name of <%s>: got no text and no aria-label, want one of them: %v", n.Data, n.Attr)
		}
	}
}

// checkTargets checks links within the page and references between elements.
func checkTargets(t *testing.T, page *html.Node, ids map[string]int) {
	t.Helper()
	for n := range page.Descendants() {
		if target, ok := strings.CutPrefix(attr(n, "href"), "#"); ok && ids[target] == 0 {
			t.Errorf("link: got the unknown target #%s, want an id of the page", target)
		}
		if target := attr(n, "aria-labelledby"); target != "" && ids[target] == 0 {
			t.Errorf("label of <%s>: got the unknown id %s, want one of the page", n.Data, target)
		}
		if n.Data == "form" && attr(n, "method") == "" {
			t.Errorf("method of a form: got none, want one: %v", n.Attr)
		}
	}
}

// Names of users, commits and branches are shown as text everywhere.
func TestS9NamesAreText(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	for _, address := range []string{"/builds", fmt.Sprintf("/builds/%d", s.Broken.Number), "/deliveries/" + s.Delivery} {
		r := s.get(t, pagestest.Reader, address)
		r.want(t, http.StatusOK)
		for _, script := range find(r.main(), "script", "img", "b") {
			if strings.Contains(words(script), "alert") {
				t.Errorf(`%s: got %q, want it not to contain "alert"`, address, words(script))
			}
			if words(script) == "old" {
				t.Errorf("%s: element: got %q, want no injected text", address, words(script))
			}
			if script.Data == "img" {
				t.Errorf("%s: got Data %q, want another value", address, script.Data)
			}
		}
	}
}
