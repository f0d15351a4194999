package registry

import (
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// wordsTimeout bounds AskWords.
const wordsTimeout = 5 * time.Second

// A Kind classifies the failure of a request to a registry, by the fix that it needs.
type Kind string

// The kinds.
const (
	KindOther         Kind = ""
	KindLogin         Kind = "login refused"     // 401
	KindDenied        Kind = "permission denied" // 403
	KindNoRepository  Kind = "no such repository, tag or digest"
	KindTooLarge      Kind = "too large"         // 413
	KindTooMany       Kind = "too many requests" // 429
	KindServer        Kind = "registry failed"   // 5xx
	KindTag           Kind = "tag refused"       // most often because tags of the registry cannot change
	KindManifest      Kind = "manifest refused"  // most often because the registry does not know OCI's types
	KindCertificate   Kind = "certificate not trusted"
	KindPlainHTTP     Kind = "plain HTTP"
	KindNoHost        Kind = "unknown host"
	KindNotListening  Kind = "connection refused"
	KindNoAnswer      Kind = "no answer in time" // or a connection that ends without an answer
	KindUnimplemented Kind = "not supported"     // 405
)

// KindOf classifies an error of this package, or the text of an error of BuildKit: gRPC transfers no type.
func KindOf(err error) Kind {
	if err == nil {
		return KindOther
	}
	text := err.Error()
	if kind := kindOfStatus(err, text); kind != KindOther {
		return kind
	}
	for _, k := range textKinds() {
		if k.pattern.MatchString(text) {
			return k.kind
		}
	}
	return KindOther
}

// kindOfStatus classifies the status of a response.
func kindOfStatus(err error, text string) Kind {
	status, manifest := 0, false
	var response *transport.Error
	if errors.As(err, &response) {
		status = response.StatusCode
		manifest = response.Request != nil && response.Request.Method == http.MethodPut &&
			strings.Contains(response.Request.URL.Path, "/manifests/")
	} else if found := statusInText().FindStringSubmatch(text); found != nil {
		status, _ = strconv.Atoi(found[1] + found[2]) // the expression matches only digits
		manifest = manifestInText().MatchString(text)
	}
	switch {
	case status == http.StatusUnauthorized:
		return KindLogin
	case status == http.StatusForbidden:
		return KindDenied
	case manifest && isTagError(response), status == http.StatusConflict, status == http.StatusPreconditionFailed:
		return KindTag
	case status == http.StatusUnsupportedMediaType, status == http.StatusBadRequest && manifest:
		return KindManifest
	case status == http.StatusNotFound:
		return KindNoRepository
	case status == http.StatusMethodNotAllowed:
		return KindUnimplemented
	case status == http.StatusRequestTimeout:
		return KindNoAnswer
	case status == http.StatusRequestEntityTooLarge:
		return KindTooLarge
	case status == http.StatusTooManyRequests:
		return KindTooMany
	case status >= http.StatusInternalServerError:
		return KindServer
	}
	return KindOther
}

// isTagError reports whether a registry refused the name of a tag, for example because tags cannot change.
func isTagError(response *transport.Error) bool {
	if response == nil { // the error is a text of BuildKit
		return false
	}
	for _, d := range response.Errors {
		if d.Code == transport.TagInvalidErrorCode {
			return true
		}
	}
	return false
}

// statusInText matches the status of a response in an error of containerd or BuildKit.
var statusInText = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(
		`(?s)unexpected status (?:code |from [A-Z]+ request to \S+: |.{0,80}?: )([1-5]\d\d)\b|` +
			`(?:invalid response status|returned error:) ([1-5]\d\d)\b`,
	)
})

// manifestInText matches the request for a manifest that BuildKit pushes, for example of a cache.
var manifestInText = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`from PUT request to \S+/manifests/`)
})

// A textKind is an expression for the text of an error.
type textKind struct {
	kind    Kind
	pattern *regexp.Regexp
}

// textKinds matches the texts of Go's network stack, and then those of registries. Their order counts: a
// registry's token service may be out of reach, which is no wrong login.
var textKinds = sync.OnceValue(func() (all []textKind) {
	for _, row := range []struct {
		kind Kind
		text string
	}{
		{KindPlainHTTP, `server gave HTTP response to HTTPS client|uses plain HTTP: mark the registry insecure`},
		{KindCertificate, `x509: |tls: failed to verify|tls: bad certificate|remote error: tls: `},
		{KindNoHost, `no such host|server misbehaving|Temporary failure in name resolution`},
		{KindNotListening, `connection refused`},
		{KindNoAnswer, `i/o timeout|TLS handshake timeout|context deadline exceeded|Client\.Timeout exceeded|` +
			`no route to host|network is unreachable|connection reset by peer|broken pipe|: EOF$`},
		{KindTooMany, `(?i)toomanyrequests`},
		{KindLogin, `pull access denied|authorization failed|failed to authorize|insufficient_scope|: unauthorized: `},
		{KindDenied, `: denied: `},
		{KindNoRepository, `(?i)name_unknown|name unknown|manifest_unknown|manifest unknown|: not found$|` +
			`repository .{0,100}does not exist|repository name not known`},
		// BuildKit leaves out the status of a response in the registry's form.
		{KindManifest, `(?i)error writing manifest blob: .{0,200}(?:manifest[ _]invalid|unsupported|media ?type|schema)`},
	} {
		all = append(all, textKind{row.kind, regexp.MustCompile(row.text)})
	}
	return all
})
