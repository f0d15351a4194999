// Package ecrtest provides a test server with the actions of the Amazon ECR API that package ecr
// calls. It checks the signature of each request, and responds as documented:
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/.
package ecrtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The only key that the server accepts, and the login that it returns for it.
const (
	KeyID    = "AKIAIOSFODNN7EXAMPLE"
	Secret   = "secret-key-canary"
	Region   = "eu-central-1"
	Username = "AWS"
	Token    = "token-canary"
)

// A Repository is the state of a repository on the server.
type Repository struct {
	Scan              bool
	Lifecycle, Policy string
}

// A Server serves the API of one region. A test may set its fields before the first request.
type Server struct {
	*httptest.Server
	Deny    string // action that the key has no permission for
	Down    int    // number of requests that fail with status 500
	Session string // required session token; empty = the key is not temporary

	mu           sync.Mutex
	repositories map[string]*Repository
	calls        []string
}

// New starts a server. It is closed at the end of the test.
func New(t testing.TB) *Server {
	s := &Server{repositories: map[string]*Repository{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// Repository returns the repository with this name, or nil if it does not exist.
func (s *Server) Repository(name string) *Repository {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.repositories[name]
}

// Calls returns the requested actions in order, as GetAuthorizationToken.
func (s *Server) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// ServeHTTP handles one action.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	s.calls = append(s.calls, action)
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	switch {
	case s.Down > 0:
		s.Down--
		fail(w, http.StatusInternalServerError, "ServerException", "these are server-side issues")
	case !strings.Contains(r.Header.Get("Authorization"), "Credential="+KeyID+"/"),
		r.Header.Get("X-Amz-Security-Token") != s.Session:
		fail(
			w,
			http.StatusBadRequest,
			"UnrecognizedClientException",
			"The security token included in the request is invalid.",
		)
	case !signed(r, body):
		fail(
			w,
			http.StatusBadRequest,
			"InvalidSignatureException",
			"The request signature we calculated does not match the signature you provided.",
		)
	case s.Deny == action:
		fail(
			w,
			http.StatusBadRequest,
			"AccessDeniedException",
			"User: arn:aws:iam::123456789012:user/ci is not authorized to perform: ecr:"+action,
		)
	default:
		s.respond(w, action, body)
	}
}

func (s *Server) respond(w http.ResponseWriter, action string, body []byte) {
	var in struct {
		RepositoryName             string
		LifecyclePolicyText        string
		PolicyText                 string
		ImageScanningConfiguration struct{ ScanOnPush bool }
	}
	if err := json.Unmarshal(body, &in); err != nil {
		fail(w, http.StatusBadRequest, "SerializationException", err.Error())
		return
	}
	repository := s.repositories[in.RepositoryName]
	switch {
	case action == "GetAuthorizationToken":
		token := base64.StdEncoding.EncodeToString([]byte(Username + ":" + Token))
		_, _ = fmt.Fprintf(
			w,
			`{"authorizationData":[{"authorizationToken":%q,"expiresAt":1.764288e9,"proxyEndpoint":"https://123456789012.dkr.ecr.%s.amazonaws.com"}]}`,
			token,
			Region,
		)
		return
	case action == "CreateRepository" && repository != nil:
		fail(w, http.StatusBadRequest, "RepositoryAlreadyExistsException", "The repository already exists")
		return
	case action == "CreateRepository":
		s.repositories[in.RepositoryName] = &Repository{Scan: in.ImageScanningConfiguration.ScanOnPush}
	case repository == nil:
		fail(
			w,
			http.StatusBadRequest,
			"RepositoryNotFoundException",
			"The repository with name '"+in.RepositoryName+"' does not exist",
		)
		return
	case action == "PutImageScanningConfiguration":
		repository.Scan = in.ImageScanningConfiguration.ScanOnPush
	case action == "PutLifecyclePolicy":
		repository.Lifecycle = in.LifecyclePolicyText
	case action == "SetRepositoryPolicy":
		repository.Policy = in.PolicyText
	default:
		fail(w, http.StatusBadRequest, "UnknownOperationException", action)
		return
	}
	_, _ = io.WriteString(w, "{}")
}

func fail(w http.ResponseWriter, status int, kind, message string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": kind, "message": message})
}

// signed reports whether a request has a valid signature (version 4) by the key.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
func signed(r *http.Request, body []byte) bool {
	fields := map[string]string{}
	for part := range strings.SplitSeq(strings.TrimPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 "), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[name] = value
	}
	_, scope, _ := strings.Cut(fields["Credential"], "/")
	date, _, _ := strings.Cut(scope, "/")
	if scope != date+"/"+Region+"/ecr/aws4_request" {
		return false
	}
	canonical := r.Method + "\n" + r.URL.EscapedPath() + "\n" + r.URL.RawQuery + "\n"
	for name := range strings.SplitSeq(fields["SignedHeaders"], ";") {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(len(body))
		}
		canonical += name + ":" + strings.TrimSpace(value) + "\n"
	}
	canonical += "\n" + fields["SignedHeaders"] + "\n" + sum(body)
	key := []byte("AWS4" + Secret)
	toSign := "AWS4-HMAC-SHA256\n" + r.Header.Get("X-Amz-Date") + "\n" + scope + "\n" + sum([]byte(canonical))
	for _, part := range []string{date, Region, "ecr", "aws4_request", toSign} {
		mac := hmac.New(sha256.New, key)
		_, _ = io.WriteString(mac, part)
		key = mac.Sum(nil)
	}
	return hmac.Equal([]byte(hex.EncodeToString(key)), []byte(fields["Signature"]))
}

func sum(text []byte) string {
	s := sha256.Sum256(text)
	return hex.EncodeToString(s[:])
}
