package gitproxy

import (
	"net/http"
	"regexp"
	"strings"
)

// pathPrefix begins every path of the proxy.
const pathPrefix = "/git/"

// A kind is one of the four served requests. Its text is the rest of the path.
type kind string

const (
	discovery  kind = "/info/refs?service=git-upload-pack"
	uploadPack kind = "/git-upload-pack"
	lfsBatch   kind = "/info/lfs/objects/batch"
	lfsObject  kind = "/lfs/"
)

// requestType is the content type of git's requests to git-upload-pack. Forms of web pages cannot send it.
const requestType = "application/x-git-upload-pack-request"

// A call is a parsed request.
type call struct {
	build  string // id, not known to exist
	kind   kind
	object string // for lfsObject: the random id
}

var (
	buildID  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	objectID = regexp.MustCompile(`^[A-Z2-7]{26}$`)
)

// parseRoute parses the request line as sent, without decoding or cleaning. A path with a percent sign, double
// slashes or dots is not a valid one.
func parseRoute(r *http.Request) (call, bool) {
	rest, ok := strings.CutPrefix(r.RequestURI, pathPrefix)
	build, tail, found := strings.Cut(rest, "/")
	if !ok || !found || !buildID.MatchString(build) || r.Header.Get("Upgrade") != "" {
		return call{}, false
	}
	c := call{build: build, kind: kind("/" + tail)}
	switch {
	case r.Method == http.MethodGet && c.kind == discovery:
		return c, true
	case r.Method == http.MethodPost && c.kind == uploadPack && r.Header.Get("Content-Type") == requestType:
		return c, true
	case r.Method == http.MethodPost && c.kind == lfsBatch:
		return c, true
	case r.Method == http.MethodGet && strings.HasPrefix("/"+tail, string(lfsObject)):
		c.object = strings.TrimPrefix("/"+tail, string(lfsObject))
		c.kind = lfsObject
		return c, objectID.MatchString(c.object)
	}
	return call{}, false
}

// Serves reports whether a decoded path belongs to the proxy. WriteError then writes its errors.
func Serves(path string) bool { return strings.HasPrefix(path, pathPrefix) }
