package pages_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/html"

	"slipway/plugin/autobuild"
	"slipway/plugin/web/pages/pagestest"
)

// reversing is a text in Hebrew with a character that reverses the text after it: U+202E.
const reversing = " אב\u202e"

// Text from outside is in an element that keeps its direction to itself. Attributes have none of the characters
// that change the direction.
func TestTextFromOutsideKeepsItsDirectionToItself(t *testing.T) {
	s := newEnv(pagestest.OpenMarked(t, reversing))
	shown := 0
	for _, role := range []autobuild.Role{autobuild.RoleAdmin, pagestest.Reader} {
		for _, address := range directedPages(t, s) {
			r := s.get(t, role, address)
			for n := range r.Page.Descendants() {
				switch {
				case n.Type == html.TextNode && hasDirection(n.Data):
					shown++
					if !isolated(n) {
						t.Errorf(
							"%s: text %q in <%s>: got no <bdi> around it, want one",
							address,
							n.Data,
							n.Parent.Data,
						)
					}
				case n.Type == html.ElementNode:
					checkDirectedAttributes(t, address, n)
				}
			}
		}
	}
	if shown < 100 {
		t.Errorf("texts from outside: got %d, want at least 100: is the sample marked?", shown)
	}
}

// directedPages are the pages of markup_test.go, and more of the marked sample.
func directedPages(t *testing.T, s *env) []string {
	t.Helper()
	stopped := s.Account
	stopped.State, stopped.Problem = autobuild.AccountBroken, "it was unlinked"+reversing
	if _, err := s.Store.SaveAccount(t.Context(), stopped); err != nil {
		t.Fatal(err)
	}
	unlinked := s.post(t, autobuild.RoleAdmin, "/settings/accounts/"+s.Token.ID+"/unlink", "name", s.Token.Name)
	return append(addresses(s), unlinked.Header.Get("Location"),
		"/automated-builds/"+s.App.ID+"/webhook/rotate",
		"/settings/people/"+s.Users[pagestest.Idle].ID+"/remove",
		fmt.Sprintf("/builds/%d?attempt=1", s.Live.Number))
}

func hasDirection(text string) bool {
	return strings.ContainsFunc(
		text,
		func(r rune) bool { return unicode.Is(unicode.Bidi_Control, r) || unicode.Is(unicode.Hebrew, r) },
	)
}

// isolated reports whether an element around a text isolates its direction. The style sheet does so for code and
// for some classes.
func isolated(n *html.Node) bool {
	for p := n.Parent; p != nil; p = p.Parent {
		if slices.Contains([]string{"bdi", "code", "pre", "textarea"}, p.Data) {
			return true
		}
		for class := range strings.FieldsSeq(attr(p, "class")) {
			if slices.Contains([]string{"mono", "ref", "tag"}, class) {
				return true
			}
		}
	}
	return n.Parent.Data == "option" || n.Parent.Data == "title" || n.Parent.Data == "summary" && !hasControl(n.Data)
}

func hasControl(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(unicode.Bidi_Control, r) })
}

// checkDirectedAttributes checks the attributes and texts that cannot hold a <bdi>. Values of controls, and texts
// to copy, are left as they are.
func checkDirectedAttributes(t *testing.T, address string, n *html.Node) {
	t.Helper()
	for _, a := range n.Attr {
		if hasControl(a.Val) && a.Key != "value" && a.Key != "data-copy" {
			t.Errorf(
				"%s: %s of <%s>: got %q, want no character that changes the direction",
				address,
				a.Key,
				n.Data,
				a.Val,
			)
		}
	}
	if (n.Data == "option" || n.Data == "title") && hasControl(words(n)) {
		t.Errorf("%s: <%s>: got %q, want no character that changes the direction", address, n.Data, words(n))
	}
}

func TestTheStyleSheetIsolatesCode(t *testing.T) {
	css, err := os.ReadFile("static/style.css")
	if err != nil {
		t.Fatal(err)
	}
	if want := "code, pre, .mono, .ref, .tag { unicode-bidi: isolate; }"; !strings.Contains(string(css), want) {
		t.Errorf("style sheet: got no rule %q, want one", want)
	}
}
