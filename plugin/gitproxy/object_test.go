package gitproxy

import (
	"strings"
	"testing"

	"slipway/plugin/autobuild"
)

// httpsGit is a provider with an https address.
type httpsGit struct{ autobuild.GitCredentials }

func (httpsGit) CloneURL(autobuild.Repository) (string, error) {
	return "https://bitbucket.org/acme/app.git", nil
}

// Headers of objects are sent over plain HTTP only if the provider itself uses it. The account's credential
// is sent only to the provider's own address.
func TestAddressesOfObjects(t *testing.T) {
	u := &upstream{account: autobuild.Connection{Git: httpsGit{}}}
	header := map[string]string{"Authorization": "JWT x"}
	for href, want := range map[string]struct{ ok, login bool }{
		"https://bitbucket.org/acme/app.git/info/lfs/x": {true, true},
		"https://media.example.com/x":                   {true, false},
		"https://bitbucket.org:8443/x":                  {true, false},
		"https://bitbucket.org.example.com/x":           {true, false},
		"https://bitbucket.org@example.com/x":           {true, false},
		"http://bitbucket.org/acme/app.git/info/lfs/x":  {},
		"http://media.example.com/x":                    {},
		"ftp://media.example.com/x":                     {},
		"file:///etc/passwd":                            {},
		"//media.example.com/x":                         {},
		"/x":                                            {},
		"":                                              {},
	} {
		o := batchObject{OID: strings.Repeat("a", 64), Size: 1}
		got, err := u.parseAction(o, batchAction{Href: href}, false)
		if ok := err == nil; ok != want.ok {
			t.Errorf("%s: got error %v, want one: %t", href, err, !want.ok)
		}
		if got.login != want.login {
			t.Errorf("%s: got the account's credential %t, want %t", href, got.login, want.login)
		}
		if got, _ := u.parseAction(o, batchAction{Href: href}, true); got.login {
			t.Errorf("%s, authenticated: got the account's credential, want none", href)
		}
		if got, _ := u.parseAction(o, batchAction{Href: href, Header: header}, false); got.login {
			t.Errorf("%s, with headers: got the account's credential, want none", href)
		}
	}
}
