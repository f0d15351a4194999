package bitbucket

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"slipway/config/secret"
)

const (
	maxText   = 500 // maximum runes of a provider's text in an error
	minSecret = 8   // shorter credentials are not secret, and masking them would hide parts of words
)

// newError parses an error response. Bitbucket uses several formats. Proxies and the rate limiter
// in front of it use others.
func newError(c *call, response *http.Response, body []byte, token secret.Secret) *Error {
	e := &Error{Method: c.method, Path: c.url.EscapedPath(), Status: response.StatusCode, HTML: isHTML(response.Header)}
	e.RetryAfter = retryAfter(response.Header, time.Now())
	if e.HTML {
		e.Message = "got a web page instead of an API response"
		return e
	}
	text := string(body)
	if len(token.Reveal()) >= minSecret {
		text = strings.ReplaceAll(text, token.Reveal(), secret.Mask)
	}
	if !e.parse([]byte(text)) {
		e.Message = clean(text)
	}
	if e.Message == "" {
		e.Message = "no explanation"
	}
	return e
}

// retryAfter parses seconds or a date: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// wireError combines all known formats: the documented {"type":"error","error":{…}}, OAuth's
// {"error":"…","error_description":"…"}, the bulk endpoints' {"code":…,"message":"…"} and Data
// Center's {"errors":[{"message":"…"}]}.
type wireError struct {
	Error       json.RawMessage `json:"error"`
	Description string          `json:"error_description"`
	Message     string          `json:"message"`
	Errors      []struct {
		Message string `json:"message"`
	} `json:"errors"`
}

type wireErrorBody struct {
	Message string                     `json:"message"`
	Detail  json.RawMessage            `json:"detail"`
	Fields  map[string]json.RawMessage `json:"fields"`
	Data    struct {
		Announcement string `json:"announcement_url"`
	} `json:"data"`
}

// parse fills e from a JSON body and reports whether it found a message.
func (e *Error) parse(body []byte) bool {
	var w wireError
	if json.Unmarshal(body, &w) != nil {
		return false
	}
	var inner wireErrorBody
	var code string
	switch {
	case json.Unmarshal(w.Error, &inner) == nil && inner.Message != "":
		e.fill(inner)
	case json.Unmarshal(w.Error, &code) == nil:
		e.Message, e.Detail = clean(code), clean(w.Description)
	case w.Message != "":
		e.Message = clean(w.Message)
	case len(w.Errors) > 0:
		e.Message = clean(w.Errors[0].Message)
	}
	return e.Message != ""
}

func (e *Error) fill(w wireErrorBody) {
	e.Message = clean(w.Message)
	e.Announcement = clean(w.Data.Announcement)
	var scopes struct{ Required, Granted []string }
	if json.Unmarshal(w.Detail, &e.Detail) == nil {
		e.Detail = clean(e.Detail)
	} else if json.Unmarshal(w.Detail, &scopes) == nil {
		e.Required, e.Granted = cleanAll(scopes.Required), cleanAll(scopes.Granted)
	}
	for name, raw := range w.Fields {
		if e.Fields == nil {
			e.Fields = map[string][]string{}
		}
		e.Fields[clean(name)] = parseTexts(raw)
	}
}

// parseTexts parses a list of strings, as documented, or a single string, as some responses have.
func parseTexts(raw json.RawMessage) []string {
	var many []string
	if json.Unmarshal(raw, &many) == nil {
		return cleanAll(many)
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{clean(one)}
	}
	return []string{clean(string(raw))}
}

func cleanAll(in []string) []string {
	out := make([]string, 0, len(in))
	for _, s := range in {
		out = append(out, clean(s))
	}
	return slices.Clip(out)
}

// clean converts a provider's text to one line of limited length.
func clean(s string) string {
	s = strings.Join(
		strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }),
		" ",
	)
	if runes := []rune(s); len(runes) > maxText {
		return string(runes[:maxText]) + "…"
	}
	return s
}
