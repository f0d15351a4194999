package credentials_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/autobuild"
	"slipway/plugin/credentials"
)

const (
	own   = "automated-build-of-app"
	image = "registry.example.com/acme/app"
)

// credential parses "push host [bound-to]"; its id is the text.
func credential(text string) autobuild.Registry {
	words := strings.Fields(text)
	r := autobuild.Registry{ID: text, Purpose: autobuild.RegistryPurpose(words[0]), Host: words[1]}
	if len(words) > 2 {
		r.AutomatedBuildID = words[2]
	}
	return r
}

func parse(texts []string) (all []autobuild.Registry) {
	for _, text := range texts {
		all = append(all, credential(text))
	}
	return all
}

func TestChoosePush(t *testing.T) {
	for name, test := range map[string]struct {
		stored    []string
		boundOnly bool
		want      string
		reason    string
	}{
		"nothing stored": {nil, false, "", "no push credential matches"},
		"the whole registry": {
			[]string{"push registry.example.com"}, false, "push registry.example.com", "whole registry",
		},
		"the longest path": {
			[]string{
				"push registry.example.com", "push registry.example.com/acme",
				"push registry.example.com/acme/app",
			},
			false, "push registry.example.com/acme/app", "path",
		},
		"whole segments": {
			[]string{
				"push registry.example.com/acm", "push registry.example.com/acme/app-other",
				"push registry.example.com/acme/ap",
			},
			false, "", "no push credential",
		},
		"another host": {
			[]string{"push registry.example.co", "push registry.example.com:5000", "push example.com"}, false,
			"", "no push credential",
		},
		"bound before longest": {
			[]string{"push registry.example.com/acme/app", "push registry.example.com " + own}, false,
			"push registry.example.com " + own, "bound",
		},
		"the longest of bound ones": {
			[]string{"push registry.example.com " + own, "push registry.example.com/acme " + own}, false,
			"push registry.example.com/acme " + own, "bound",
		},
		"bound to another": {[]string{"push registry.example.com/acme/app other"}, false, "", "no push credential"},
		"bound, for another image": {
			[]string{"push registry.example.com/acme/other " + own}, false, "", "no push credential",
		},
		"a pull credential": {
			[]string{"pull registry.example.com/acme/app", "pull registry.example.com " + own}, false, "",
			"no push credential",
		},
		"bound only, none bound": {
			[]string{"push registry.example.com/acme/app"}, true, "", "no push credential is bound",
		},
		"bound only, one bound": {
			[]string{"push registry.example.com/acme/app", "push registry.example.com/acme " + own}, true,
			"push registry.example.com/acme " + own, "bound",
		},
	} {
		t.Run(name, func(t *testing.T) {
			all := parse(test.stored)
			use := credentials.Use{AutomatedBuildID: own, Image: image, BoundOnly: test.boundOnly}
			for range 2 { // in both orders
				got := credentials.Choose(all, use)
				if got.Push.ID != test.want {
					t.Errorf("push ID: got %q, want %q", got.Push.ID, test.want)
				}
				if !strings.Contains(got.Reason, test.reason) {
					t.Errorf("reason: got %q, want %q in it", got.Reason, test.reason)
				}
				slices.Reverse(all)
			}
		})
	}
}

func TestChoosePull(t *testing.T) {
	for name, test := range map[string]struct {
		stored    []string
		boundOnly bool
		want      []string
	}{
		"several hosts": {
			[]string{"pull registry.example.com", "pull docker.io", "push ghcr.io"}, false,
			[]string{"pull docker.io", "pull registry.example.com"},
		},
		"bound first": {
			[]string{"pull docker.io", "pull docker.io " + own, "pull docker.io other"}, false,
			[]string{"pull docker.io " + own},
		},
		"the image's path": {
			[]string{
				"pull registry.example.com", "pull registry.example.com/acme", "pull registry.example.com/base",
			},
			false, []string{"pull registry.example.com/acme"},
		},
		"the whole host otherwise": {
			[]string{"pull registry.example.com/base", "pull registry.example.com"}, false,
			[]string{"pull registry.example.com"},
		},
		"another path only": {
			[]string{"pull registry.example.com/base"}, false, []string{"pull registry.example.com/base"},
		},
		"a fixed one of equals": {[]string{"pull docker.io/b", "pull docker.io/a"}, false, []string{"pull docker.io/a"}},
		"another's":             {[]string{"pull docker.io other"}, false, nil},
		"bound only": {
			[]string{"pull docker.io", "pull ghcr.io " + own}, true, []string{"pull ghcr.io " + own},
		},
	} {
		t.Run(name, func(t *testing.T) {
			all := parse(test.stored)
			for range 2 {
				var got []string
				use := credentials.Use{AutomatedBuildID: own, Image: image, BoundOnly: test.boundOnly}
				for _, r := range credentials.Choose(all, use).Pull {
					got = append(got, r.ID)
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("pull credentials (-want +got):\n%s", diff)
				}
				slices.Reverse(all)
			}
		})
	}
}

// An automated build that is not saved yet has no id.
func TestNothingIsBoundToAnUnsavedAutomatedBuild(t *testing.T) {
	all := parse([]string{"push registry.example.com", "pull docker.io", "push registry.example.com " + own})
	got := credentials.Choose(all, credentials.Use{Image: image, BoundOnly: true})
	if got.Push.ID != "" {
		t.Errorf("push credential: got %q, want none", got.Push.ID)
	}
	if len(got.Pull) != 0 {
		t.Errorf("pull credentials: got %d, want none", len(got.Pull))
	}
	got = credentials.Choose(all, credentials.Use{Image: image})
	if want := "push registry.example.com"; got.Push.ID != want {
		t.Errorf("push ID: got %q, want %q", got.Push.ID, want)
	}
}

func TestWarning(t *testing.T) {
	for text, want := range map[string]bool{
		"push registry.example.com":        true,
		"push registry.example.com/acme":   false,
		"push registry.example.com " + own: false,
		"pull registry.example.com":        false,
	} {
		got := credentials.Warning(credential(text))
		if (got != "") != want {
			t.Errorf("%s: got %q, want a warning: %t", text, got, want)
		}
		if want && !strings.Contains(got, "registry.example.com/team") {
			t.Errorf("%s: got %q, want the path prefix that fixes it", text, got)
		}
	}
}

// FuzzChoose checks that a build never gets a credential that is bound to another automated build, a
// pull credential for a push, or a push credential of another path.
func FuzzChoose(f *testing.F) {
	f.Add("registry.example.com", "registry.example.com/acme", image, true, false, true)
	f.Add("registry.example.com/acme/ap", "docker.io", image, false, true, false)
	f.Add("/", "", "", false, false, false)
	f.Fuzz(func(t *testing.T, first, second, image string, bound, pull, boundOnly bool) {
		all := []autobuild.Registry{
			{
				ID:               "1",
				Host:             first,
				Purpose:          autobuild.RegistryPush,
				AutomatedBuildID: map[bool]string{true: own}[bound],
			},
			{
				ID:      "2",
				Host:    second,
				Purpose: map[bool]autobuild.RegistryPurpose{true: autobuild.RegistryPull, false: autobuild.RegistryPush}[pull],
			},
			{ID: "3", Host: first, Purpose: autobuild.RegistryPush, AutomatedBuildID: "other"},
			{ID: "4", Host: second, Purpose: autobuild.RegistryPull, AutomatedBuildID: "other"},
		}
		use := credentials.Use{AutomatedBuildID: own, Image: image, BoundOnly: boundOnly}
		got := credentials.Choose(all, use)
		check := func(r autobuild.Registry, purpose autobuild.RegistryPurpose) {
			if r.Purpose != purpose {
				t.Errorf("purpose of the credential: got %s, want %s", r.Purpose, purpose)
			}
			if r.AutomatedBuildID != own && (r.AutomatedBuildID != "" || boundOnly) {
				t.Errorf("automated build of the credential: got %q, want none or its own", r.AutomatedBuildID)
			}
		}
		if got.Push.ID != "" {
			check(got.Push, autobuild.RegistryPush)
			prefix := strings.TrimSuffix(got.Push.Host, "/")
			rest, ok := strings.CutPrefix(image, prefix)
			if !ok || rest != "" && rest[0] != '/' {
				t.Errorf("credential: got one of %q, want one of %q", got.Push.Host, image)
			}
		}
		hosts := map[string]bool{}
		for _, r := range got.Pull {
			check(r, autobuild.RegistryPull)
			host, _, _ := strings.Cut(r.Host, "/")
			if hosts[host] {
				t.Errorf("pull credentials of %q: got two, want one", host)
			}
			hosts[host] = true
		}
		slices.Reverse(all)
		same := cmp.Comparer(func(a, b autobuild.Registry) bool { return a.ID == b.ID })
		if diff := cmp.Diff(got, credentials.Choose(all, use), same); diff != "" && first != second {
			t.Errorf("choice in the other order (-want +got):\n%s", diff)
		}
	})
}
