package pages

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"slipway/plugin/autobuild"
)

func TestWords(t *testing.T) {
	now := time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC)
	for got, want := range map[string]string{
		duration(-1): "–", duration(10 * time.Millisecond): "0.01s", duration(1100 * time.Millisecond): "1.1s",
		duration(48 * time.Second): "48s",
		duration(84 * time.Second): "1m 24s", duration(2*time.Hour + 5*time.Minute): "2h 05m",
		ago(now, now): "just now", ago(now, now.Add(-30*time.Second)): "30 s ago",
		ago(now, now.Add(-3*time.Minute)): "3 min ago", ago(now, now.Add(-5*time.Hour)): "5 h ago",
		ago(now, now.Add(-80*time.Hour)): "3 days ago", ago(now, time.Time{}): "never",
		ago(now, now.Add(time.Hour)): "in 1 h",
		size(12):                     "12 B", size(4200): "4 kB", size(4_200_000): "4.2 MB", size(62_400_000): "62 MB",
		size(1_500_000_000):                "1.5 GB",
		shortHash(strings.Repeat("a", 40)): "aaaaaaa", shortHash("sha256:" + strings.Repeat("b", 64)): "sha256:bbbbbbbbbbbb",
		shortHash("abc"):      "abc",
		firstLine("one\ntwo"): "one", firstLine(strings.Repeat("x", 200)): strings.Repeat("x", 99) + "…",
		sentence("it broke"): "It broke.", sentence("done!"): "Done!", sentence(""): "",
		fieldID("rules[0].source"): "rules-0-source", fieldID("rules[0]"): "rules-0", fieldID("image"): "image",
		stateOf(autobuild.Starting).Class: "running", stateOf(autobuild.DeliveryRefused).Class: "error",
		stateOf("odd").Word:                        "odd",
		accountKind(autobuild.AccountProjectToken): "project access token", accountKind("new"): "new",
	} {
		if got != want {
			t.Errorf("text: got %q, want %q", got, want)
		}
	}
	if _, err := dict("a"); err == nil {
		t.Error("dict with an odd number of values: got no error, want one")
	}
	if _, err := dict(1, 2); err == nil {
		t.Error("dict with a number as a name: got no error, want one")
	}
}

// O1: links to the provider use its configured origin.
func TestLinksToTheProvider(t *testing.T) {
	cloud := autobuild.Provider{Kind: autobuild.Cloud, WebURL: "https://bitbucket.org"}
	center := autobuild.Provider{Kind: autobuild.DataCenter, WebURL: "https://bb.example.com/git"}
	r := autobuild.Repository{FullName: "acme/app"}
	for got, want := range map[string]string{
		commitURL(cloud, r, "abc"):  "https://bitbucket.org/acme/app/commits/abc",
		commitURL(center, r, "abc"): "https://bb.example.com/git/projects/acme/repos/app/commits/abc",
		webhooksURL(cloud, r):       "https://bitbucket.org/acme/app/admin/webhooks",
		webhooksURL(center, r):      "https://bb.example.com/git/projects/acme/repos/app/settings/webhooks",
	} {
		if got != want {
			t.Errorf("text: got %s, want %s", got, want)
		}
	}
	for _, bad := range []autobuild.Provider{{WebURL: "javascript:alert(1)"}, {WebURL: "//x"}, {}, {WebURL: "ftp://x"}} {
		if got := commitURL(bad, r, "abc") + webhooksURL(bad, r); got != "" {
			t.Errorf(`%q: got %s, want ""`, bad.WebURL, got)
		}
	}
	if got := commitURL(cloud, autobuild.Repository{FullName: "app"}, "abc"); got != "" {
		t.Errorf(`a name without a workspace: got %s, want ""`, got)
	}
}

// I5: indenting JSON does not make a small body huge.
func TestI5BodiesAreBounded(t *testing.T) {
	deep := strings.Repeat("[", 5000) + strings.Repeat("1,", 100_000) + "1" + strings.Repeat("]", 5000)
	text, cut := bodyText([]byte(deep))
	if len(text) > maxBodyShown {
		t.Errorf("length of the body: got %v, want at most %v", len(text), maxBodyShown)
	}
	if cut {
		t.Error("body is cut: got true, want false")
	}
	wide, cut := bodyText([]byte("[" + strings.Repeat("1,", 90_000) + "1]"))
	if len(wide) > maxBodyShown {
		t.Errorf("length of the body: got %v, want at most %v", len(wide), maxBodyShown)
	}
	if !cut {
		t.Error("body is cut: got false, want true")
	}
	if text, _ := bodyText([]byte("\xff{")); text != "\uFFFD{" {
		t.Errorf("text: got %q, want the invalid byte replaced", text)
	}
}

func TestHeadersOfSecrets(t *testing.T) {
	got := headerLines(
		http.Header{"Authorization": {"Bearer x"}, "X-Hub-Signature-256": {"sha256=beef"}, "A": {"1", "2"}},
	)
	want := []headerLine{{"A", "1"}, {"A", "2"}, {"Authorization", "…"}, {"X-Hub-Signature-256", "sha256=… (valid)"}}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d: got %v, want %v", i, got[i], want[i])
		}
	}
}
