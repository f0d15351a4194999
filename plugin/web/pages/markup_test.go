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
				t.Fatalf("got StatusCode %v, want less than 500", r.StatusCode)
			}
			if r.StatusCode == http.StatusForbidden {
				t.Fatalf("got StatusCode %v, want another value", r.StatusCode)
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
				t.Errorf("id %s is not unique", id)
			}
		}
		checkInline(t, n)
	}
	checkLabels(t, r.Page, ids)
	checkTargets(t, r.Page, ids)
	if n := len(find(r.Page, "h1")); n != 1 {
		t.Errorf("%d h1, want 1", n)
	}
	for _, landmark := range []string{"header", "main"} {
		if len(find(r.Page, landmark)) == 0 {
			t.Errorf("no %s", landmark)
		}
	}
	for _, canary := range []string{
		pagestest.WebhookSecret, pagestest.ClientSecret, pagestest.AccessToken, pagestest.RegistryToken,
		pagestest.EnvironmentVar, pagestest.ExtensionSecret,
	} {
		if strings.Contains(r.Text, canary) {
			t.Errorf("the page shows %s", canary)
		}
	}
	if strings.Contains(r.Text, "ZgotmplZ") {
		t.Errorf(`got %q, want it not to contain "ZgotmplZ"`, r.Text)
	}
	if strings.Contains(r.Text, "<no value>") {
		t.Errorf(`got %q, want it not to contain "<no value>"`, r.Text)
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
			t.Errorf("got Key %q, want another value", a.Key)
		}
		if strings.HasPrefix(a.Key, "on") {
			t.Errorf(`got %q, want another prefix than "on"`, a.Key)
		}
		if (a.Key == "href" || a.Key == "src" || a.Key == "action") && !strings.HasPrefix(a.Val, "/") &&
			!strings.HasPrefix(a.Val, "#") &&
			!strings.HasPrefix(a.Val, "https://bitbucket.org/") {
			t.Errorf("<%s> leads to %q", n.Data, a.Val)
		}
	}
	if n.Data == "script" && n.FirstChild != nil {
		t.Error(`got an inline script, want none`)
	}
	if n.Data == "style" {
		t.Errorf("got Data %q, want another value", n.Data)
	}
	if n.Data == "iframe" {
		t.Errorf("got Data %q, want another value", n.Data)
	}
	if n.Data == "img" {
		t.Errorf("got Data %q, want another value", n.Data)
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
			t.Errorf("the control %s has no label", attr(n, "name"))
		}
		for id := range strings.FieldsSeq(attr(n, "aria-describedby")) {
			if ids[id] == 0 {
				t.Errorf("the control %s is described by %s, but the page has no such id", attr(n, "name"), id)
			}
		}
	}
	for _, n := range find(page, "button", "a") {
		if words(n) == "" && attr(n, "aria-label") == "" {
			t.Errorf("<%s> has no text and no aria-label: %v", n.Data, n.Attr)
		}
	}
}

// checkTargets checks links within the page and references between elements.
func checkTargets(t *testing.T, page *html.Node, ids map[string]int) {
	t.Helper()
	for n := range page.Descendants() {
		if target, ok := strings.CutPrefix(attr(n, "href"), "#"); ok && ids[target] == 0 {
			t.Errorf("a link leads to #%s, but the page has no such id", target)
		}
		if target := attr(n, "aria-labelledby"); target != "" && ids[target] == 0 {
			t.Errorf("<%s> is labelled by %s, but the page has no such id", n.Data, target)
		}
		if n.Data == "form" && attr(n, "method") == "" {
			t.Errorf("a form has no method: %v", n.Attr)
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
				t.Errorf("%s: got words(script) %q, want another value", address, words(script))
			}
			if script.Data == "img" {
				t.Errorf("%s: got Data %q, want another value", address, script.Data)
			}
		}
	}
}
