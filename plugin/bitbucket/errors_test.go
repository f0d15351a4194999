package bitbucket_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/bitbucket"
)

// The test has every error body that Bitbucket and the proxies in front of it are known to send.
func TestErrorBodies(t *testing.T) {
	cases := map[string]struct {
		reply http.HandlerFunc
		is    error
		text  string // all of it
	}{
		"plain": {
			reply(404, "", `{"type":"error","error":{"message":"No such file or directory: x"}}`),
			bitbucket.ErrNotFound,
			"GET /2.0/user: 404 Not Found: No such file or directory: x",
		},
		"detail": {
			reply(400, "", `{"type":"error","error":{"message":"Bad","detail":"because"}}`),
			bitbucket.ErrInvalid,
			"GET /2.0/user: 400 Bad Request: Bad (because)",
		},
		"scopes": {
			reply(403, "", `{"type":"error","error":{"message":"Your credentials lack one or more required privilege `+
				`scopes.","detail":{"required":["webhook"],"granted":["account","repository"]}}}`),
			bitbucket.ErrForbidden,
			"GET /2.0/user: 403 Forbidden: Your credentials lack one or more required privilege scopes. " +
				"(needs webhook, has account repository)",
		},
		"expired": {
			reply(401, "", `{"type":"error","error":{"message":"OAuth2 access token expired. Use your refresh token `+
				`to obtain a new access token."}}`),
			bitbucket.ErrUnauthorized,
			"GET /2.0/user: 401 Unauthorized: OAuth2 access token expired. Use your refresh token to obtain a new " +
				"access token.",
		},
		"oauth": {
			reply(400, "", `{"error_description":"Unsupported grant type: None","error":"invalid_grant"}`),
			bitbucket.ErrInvalid,
			"GET /2.0/user: 400 Bad Request: invalid_grant (Unsupported grant type: None)",
		},
		"bulk": {
			reply(400, "", `{"code":400,"message":"Bulk upload supports a maximum of /100 annotations."}`),
			bitbucket.ErrInvalid,
			"GET /2.0/user: 400 Bad Request: Bulk upload supports a maximum of /100 annotations.",
		},
		"data center": {
			reply(404, "", `{"errors":[{"context":null,"message":"Repository x does not exist.",`+
				`"exceptionName":"com.x"}]}`),
			bitbucket.ErrNotFound,
			"GET /2.0/user: 404 Not Found: Repository x does not exist.",
		},
		"text": {reply(400, "Content-Type: text/plain", "not\tJSON\n"), bitbucket.ErrInvalid,
			"GET /2.0/user: 400 Bad Request: not JSON"},
		"empty 403":    {reply(403, "", ""), bitbucket.ErrForbidden, "GET /2.0/user: 403 Forbidden: no explanation"},
		"empty object": {reply(403, "", "{}"), bitbucket.ErrForbidden, "GET /2.0/user: 403 Forbidden: {}"},
		"removed": {
			reply(410, "", removedBody),
			bitbucket.ErrRemoved,
			"GET /2.0/user: 410 Gone: CHANGE-2770 - Functionality has been deprecated (Please read the changelog " +
				"entry for more details.; https://developer.atlassian.com/cloud/bitbucket/changelog#CHANGE-2770)",
		},
		"gave up": {
			reply(555, "", `{"type":"error","error":{"message":"timed out"}}`),
			bitbucket.ErrTooMuch,
			"GET /2.0/user: 555: timed out",
		},
		"html 200": {reply(200, "Content-Type: text/html; charset=utf-8", "<html>log in</html>"), bitbucket.ErrHTML,
			"GET /2.0/user: got a web page instead of an API response"},
		"empty": {reply(200, "", " \n"), bitbucket.ErrUnavailable,
			"GET /2.0/user: no object in the response: the body is empty"},
		"empty html": {reply(200, "Content-Type: text/html", ""), bitbucket.ErrUnavailable,
			"GET /2.0/user: no object in the response: the body is empty"},
		"html 503": {reply(503, "Content-Type: text/html", "<html>down</html>"), bitbucket.ErrUnavailable,
			"GET /2.0/user: 503 Service Unavailable: got a web page instead of an API response"},
		"not json": {reply(200, "", "{"), bitbucket.ErrUnavailable,
			"GET /2.0/user: invalid JSON in the response: unexpected end of JSON input"},
		"echo": {
			reply(400, "", `{"type":"error","error":{"message":"bad token `+canary+`"}}`),
			bitbucket.ErrInvalid,
			"GET /2.0/user: 400 Bad Request: bad token ***",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := get(t, serve(t, tc.reply))
			if !errors.Is(err, tc.is) {
				t.Errorf("errors.Is(%v, %v): got false, want true", err, tc.is)
			}
			if diff := cmp.Diff(tc.text, err.Error()); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
		})
	}
}

const removedBody = `{"type":"error","error":{"message":"CHANGE-2770 - Functionality has been deprecated",` +
	`"detail":"Please read the changelog entry for more details.","data":` +
	`{"announcement_url":"https://developer.atlassian.com/cloud/bitbucket/changelog#CHANGE-2770"}}}`

func TestErrorFields(t *testing.T) {
	err := get(t, serve(t, reply(400, "", `{"type":"error","error":{"fields":{"url":["Enter a valid URL."],`+
		`"key":"too long","odd":3},"message":"url: Enter a valid URL."}}`)))
	var e *bitbucket.Error
	if !errors.As(err, &e) {
		t.Fatalf("GET: got error %v, want an *Error", err)
	}
	want := map[string][]string{"url": {"Enter a valid URL."}, "key": {"too long"}, "odd": {"3"}}
	if diff := cmp.Diff(want, e.Fields); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

// An HTML page with status 404 must not count as the API's "not found".
func TestHTMLBodiesAreNotUsedAsErrorMessages(t *testing.T) {
	for _, status := range []int{401, 403, 404, 410} {
		err := get(t, serve(t, reply(status, "Content-Type: text/html", "<html></html>")))
		for _, wrong := range []error{bitbucket.ErrNotFound, bitbucket.ErrForbidden, bitbucket.ErrUnauthorized,
			bitbucket.ErrRemoved} {
			if errors.Is(err, wrong) {
				t.Errorf("error for status %d with HTML: got %v, want another error", status, wrong)
			}
		}
		if !errors.Is(err, bitbucket.ErrUnavailable) {
			t.Errorf("%d with HTML: got %v, want ErrUnavailable", status, err)
		}
	}
}
