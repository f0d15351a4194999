package registryproxy

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func fuzzProxy() *Proxy {
	return &Proxy{allowed: []repository{{name: "acme/app"}, {name: "acme/app/manifests"},
		{name: "acme/base", pullOnly: true}}}
}

func TestParse(t *testing.T) {
	d := "sha256:" + strings.Repeat("a", 64)
	long := "sha512:" + strings.Repeat("b", 128)
	app, base := repository{name: "acme/app"}, repository{name: "acme/base", pullOnly: true}
	for uri, want := range map[string]route{
		"/v2/acme/app/manifests/1.2":             {app, kindManifest, "1.2"},
		"/v2/acme/app/manifests/" + d:            {app, kindManifest, d},
		"/v2/acme/app/manifests/" + long:         {app, kindManifest, long},
		"/v2/acme/app/manifests/manifests/1":     {repository{name: "acme/app/manifests"}, kindManifest, "1"},
		"/v2/acme/base/blobs/" + d:               {base, kindBlob, d},
		"/v2/acme/app/blobs/uploads/":            {app, kindUploadStart, ""},
		"/v2/acme/app/blobs/uploads/" + uploadID: {app, kindUpload, uploadID},
		"/v2/acme/app/tags/list":                 {app, kindTags, ""},
		"/v2/acme/app/referrers/" + d:            {app, kindReferrers, d},
		"/v2/acme/app/manifests/manifests":       {app, kindManifest, "manifests"},
		"/v2/acme/app/manifests/tags/list":       {repository{name: "acme/app/manifests"}, kindTags, ""},
		"/v2/acme/app/manifests/blobs/uploads/":  {repository{name: "acme/app/manifests"}, kindUploadStart, ""},
	} {
		got, _, err := fuzzProxy().parse(uri)
		if err != nil {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(route{}, repository{})); diff != "" {
			t.Errorf("%s (-want +got)\n%s", uri, diff)
		}
		if got.path() != uri {
			t.Errorf("path of %s: got %s, want %s", uri, got.path(), uri)
		}
	}
}

const uploadID = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// For any request of a client, the registry sees only a plain path of an allowed repository. The query
// has one checked value of each parameter.
func FuzzParse(f *testing.F) {
	d := "sha256:" + strings.Repeat("a", 64)
	for _, uri := range []string{
		"/v2/acme/app/manifests/1.2?tag=a&tag=b", "/v2/acme/app/blobs/uploads/?mount=" + d + "&from=other/private",
		"/v2/acme/app/tags/list?n=1;last=x",
		"/v2/acme/app/%2e%2e/other/manifests/latest", "/v2/acme/app/blobs/" + d,
		"/v2/acme/app/blobs/uploads/" + uploadID + "?digest=" + d, "/v2/_catalog", "",
		"/v2/acme/app/manifests/manifests/x", "/v2/acme/base/referrers/" + d + "?artifactType=a/b&n=1",
		"http://x/v2/acme/app/tags/list",
	} {
		f.Add(uri)
	}
	plain := regexp.MustCompile(`^/v2/acme/(?:app|app/manifests|base)/` +
		`(?:manifests/[\w.:-]+|blobs/[a-z0-9:]+|blobs/uploads/[A-Z2-7]*|tags/list|referrers/[a-z0-9:]+)$`)
	f.Fuzz(func(t *testing.T, uri string) {
		to, query, err := fuzzProxy().parse(uri)
		if err != nil {
			return
		}
		path, _, _ := strings.Cut(uri, "?")
		if to.path() != path {
			t.Fatalf("%q: got path %q, want %q", uri, to.path(), path)
		}
		if !plain.MatchString(to.path()) || strings.Contains(to.path(), "..") && to.kind != kindManifest {
			t.Fatalf("%q: got path %q, want a plain path of the registry API", uri, to.path())
		}
		for name, values := range query {
			switch {
			case theForms().parameters[name] == nil:
				t.Fatalf("%q: got parameter %s=%q, want a known one", uri, name, values)
			case len(values) != 1:
				t.Fatalf("%q: parameter %s: got values %q, want one", uri, name, values)
			case !theForms().parameters[name].MatchString(values[0]):
				t.Fatalf("%q: parameter %s: got %q, want a valid value", uri, name, values[0])
			}
		}
		again, err := url.ParseQuery(query.Encode())
		if err != nil || cmp.Diff(query, again) != "" {
			t.Fatalf("%q: encoded query: got %q, error %v, want the same query", uri, query.Encode(), err)
		}
	})
}

// The registry controls the challenge. For any challenge, the realm is an address that may be used.
func FuzzParseChallenge(f *testing.F) {
	for _, header := range []string{
		`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:acme/app:pull"`,
		`Basic realm="x"`, `bearer realm=https://a.b/c, service=x`,
		`Bearer realm="https://a\"b"`, `Bearer realm="http://169.254.169.254/"`, `Bearer`, `Bearer realm="`, `Bearer =,=`,
		`Bearer realm="https://u:p@a.b"`, `Bearer realm="\`,
	} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		got, err := parseChallenge([]string{header}, false)
		if err != nil {
			return
		}
		if got.realm == nil && !got.basic {
			t.Fatalf("%q: got no authentication, want a realm or Basic", header)
		}
		if got.realm == nil {
			return
		}
		if got.realm.Scheme != "https" {
			t.Fatalf("%q: scheme of the realm: got %q, want https", header, got.realm.Scheme)
		}
		if got.realm.Host == "" {
			t.Fatalf("%q: host of the realm: got none, want one", header)
		}
		if got.realm.User != nil {
			t.Fatalf("%q: user of the realm: got %s, want none", header, got.realm.User)
		}
	})
}

func TestParseChallenge(t *testing.T) {
	realm := func(text string) *url.URL {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for _, c := range []struct {
		headers []string
		want    challenge
	}{
		{[]string{`Bearer realm="https://auth.docker.io/token",service="registry.docker.io"`},
			challenge{realm: realm("https://auth.docker.io/token"), service: "registry.docker.io"}},
		{[]string{`bearer  service=x , realm=https://a.example.com/t`},
			challenge{realm: realm("https://a.example.com/t"), service: "x"}},
		{[]string{`Bearer realm="https://a.example.com/?a=1,b=\"2\"",service="a, b"`},
			challenge{realm: realm(`https://a.example.com/?a=1,b="2"`), service: "a, b"}},
		{[]string{`Negotiate`, `Basic realm="x"`}, challenge{basic: true}},
		{[]string{`Basic realm="x"`, `Bearer realm="https://a.example.com/t"`},
			challenge{realm: realm("https://a.example.com/t")}},
		{[]string{`Bearer realm="https://a.example.com/t",realm="https://evil.test/"`},
			challenge{realm: realm("https://a.example.com/t")}},
	} {
		got, err := parseChallenge(c.headers, false)
		if err != nil {
			t.Errorf("%q: %v", c.headers, err)
			continue
		}
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(challenge{})); diff != "" {
			t.Errorf("%q (-want +got)\n%s", c.headers, diff)
		}
	}
	for _, headers := range [][]string{nil, {""}, {"Negotiate"}, {`Digest realm="x"`}, {`Bearer service="x"`},
		{`Bearer realm="http://a.example.com"`}} {
		if got, err := parseChallenge(headers, false); err == nil {
			t.Errorf("%q: got %+v, want an error", headers, got)
		}
	}
}
