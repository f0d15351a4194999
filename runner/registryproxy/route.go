package registryproxy

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

const (
	maxRepository = 255                                     // characters of a repository's name
	partText      = `[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*` // a part of a repository's name
	digestText    = `sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}`
	tagText       = `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`
	uploadText    = `[A-Z2-7]{26}` // the form of rand.Text's results
)

// forms are compiled at the first use. Their repeats make them large, and every slipway process would
// wait some milliseconds for them at its start.
type forms struct {
	repository, digest, route *regexp.Regexp

	// parameters lists the query parameters of the registry API, each with a pattern for its value.
	// "last" and "next_page" continue a list at a place that the registry chose.
	parameters map[string]*regexp.Regexp
}

var theForms = sync.OnceValue(func() forms {
	f := forms{
		repository: regexp.MustCompile(`^` + partText + `(?:/` + partText + `)*$`),
		digest:     regexp.MustCompile(`^(?:` + digestText + `)$`),
		route: regexp.MustCompile(
			`^(?:(?P<manifest>manifests)/(?P<reference>` + tagText + `|` + digestText + `)` +
				`|(?P<blob>blobs)/(?P<digest>` + digestText + `)` +
				`|(?P<start>blobs/uploads)/` +
				`|(?P<upload>blobs/uploads)/(?P<id>` + uploadText + `)` +
				`|(?P<tags>tags/list)` +
				`|(?P<referrers>referrers)/(?P<subject>` + digestText + `))$`,
		),
	}
	cursor := regexp.MustCompile(`^[!-~]{1,1000}$`)
	f.parameters = map[string]*regexp.Regexp{
		"digest":           f.digest,
		"digest-algorithm": regexp.MustCompile(`^sha(?:256|512)$`),
		"mount":            f.digest,
		"from":             f.repository,
		"n":                regexp.MustCompile(`^[0-9]{1,6}$`),
		"last":             cursor,
		"next_page":        cursor,
		"artifactType":     regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9!#$&^_.+/-]{0,254}$`),
	}
	return f
})

// A kind is one of the resources that a registry has.
type kind string

const (
	kindManifest    kind = "manifest"
	kindBlob        kind = "blob"
	kindUploadStart kind = "start"
	kindUpload      kind = "upload"
	kindTags        kind = "tags"
	kindReferrers   kind = "referrers"
)

// A route is the parsed path of a request.
type route struct {
	repository repository
	kind       kind
	reference  string // a tag, a digest, or the proxy's ID of an upload
}

// errPath is the response to a path outside of the allowed repositories, or to an unknown resource in
// one.
var errPath = problem{http.StatusForbidden, "DENIED", "this build may not use that address of the registry"}

// errQuery is the response to a malformed query.
var errQuery = problem{http.StatusBadRequest, "UNSUPPORTED", "the query has an invalid parameter"}

// parse reads a request line's address as it was sent. A valid path has nothing to decode, so
// encoded slashes and dots match nothing.
func (p *Proxy) parse(requestURI string) (route, url.Values, error) {
	path, raw, _ := strings.Cut(requestURI, "?")
	for _, repository := range p.allowed {
		rest, ok := strings.CutPrefix(path, "/v2/"+repository.name+"/")
		if !ok {
			continue
		}
		match := theForms().route.FindStringSubmatch(rest)
		if match == nil {
			continue // "acme/app" is also the beginning of "acme/app/tool"
		}
		query, err := parseQuery(raw)
		return newRoute(repository, match), query, err
	}
	return route{}, nil, errPath
}

// newRoute reads a match of the route form: one group names the kind, the next one has the reference.
func newRoute(r repository, match []string) route {
	to := route{repository: r}
	for i, name := range theForms().route.SubexpNames() {
		switch {
		case i == 0 || match[i] == "":
		case to.kind == "":
			to.kind = kind(name)
		default:
			to.reference = match[i]
		}
	}
	return to
}

// path returns the route's path below /v2/.
func (to route) path() string {
	base := "/v2/" + to.repository.name + "/"
	switch to.kind {
	case kindManifest:
		return base + "manifests/" + to.reference
	case kindBlob:
		return base + "blobs/" + to.reference
	case kindUploadStart:
		return base + "blobs/uploads/"
	case kindUpload:
		return base + "blobs/uploads/" + to.reference
	case kindReferrers:
		return base + "referrers/" + to.reference
	}
	return base + "tags/list"
}

// parseQuery returns the known parameters of a query, and drops unknown ones. It also drops a malformed
// mount or from, which makes the mount an ordinary upload. Any other parameter with two values or a
// malformed value is an error, because the registry might read another value than the checked one.
func parseQuery(raw string) (url.Values, error) {
	all, err := url.ParseQuery(raw)
	if err != nil {
		return nil, errQuery // for example for ";", which some servers read as "&"
	}
	known := url.Values{}
	for name, form := range theForms().parameters {
		values := all[name]
		switch {
		case len(values) == 0:
		case len(values) == 1 && form.MatchString(values[0]):
			known.Set(name, values[0])
		case name != "mount" && name != "from":
			return nil, errQuery
		}
	}
	return known, nil
}

// only returns the named parameters of a query.
func only(query url.Values, names ...string) url.Values {
	kept := url.Values{}
	for _, name := range names {
		if query.Has(name) {
			kept.Set(name, query.Get(name))
		}
	}
	return kept
}
