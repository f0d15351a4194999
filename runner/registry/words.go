package registry

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"slipway/config/text"
)

// maxWords bounds the text of a response that a message shows, in bytes.
const maxWords = 300

// Words returns the text of an error in one line. For a registry's response this is the status and the
// registry's own words, for example "404 Not Found: NAME_UNKNOWN: repository name not known to registry".
func Words(err error) string {
	response, ok := err.(*transport.Error) //nolint:errorlint // an error around it has more to say
	if !ok {
		return short(OneLine(err.Error()))
	}
	status := fmt.Sprintf("%d %s", response.StatusCode, http.StatusText(response.StatusCode))
	var all []string
	for _, d := range response.Errors {
		all = append(all, strings.Trim(string(d.Code)+": "+d.Message, ": ")) // one of them may be empty
	}
	if len(all) == 0 { // the body is in no field
		_, body, _ := strings.Cut(response.Error(), status+": ")
		if body = short(OneLine(body)); body != "" && !strings.Contains(status, body) {
			all = append(all, body)
		}
	}
	return short(OneLine(strings.Join(append([]string{status}, all...), ": ")))
}

// tags matches the common tags of HTML.
var tags = regexp.MustCompile(
	`(?i)</?(?:!doctype|html|head|title|body|center|h[1-6]|hr|p|br|pre|div|span|style|meta|a)\b[^<>]*>`,
)

// OneLine returns the text of an error without HTML tags and line breaks. The last line of an error is the one
// that people read, and proxies answer with pages.
func OneLine(message string) string {
	return text.OneLine(tags.ReplaceAllString(message, " "), 0)
}

// short returns at most maxWords bytes of a text.
func short(message string) string { return text.OneLine(message, maxWords) }

// AskWords returns a registry's own words about an image that it does not let a build read. BuildKit asks
// with HEAD, whose response has none. It sends one request, and returns "" if the registry has the image.
func (c *Client) AskWords(ctx context.Context, reference string, l Login) string {
	ref, err := name.ParseReference(reference, nameOptions(l)...)
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, wordsTimeout)
	defer cancel()
	if _, err = remote.Get(ref, c.options(ctx, l)...); err == nil {
		return ""
	}
	response, ok := err.(*transport.Error) //nolint:errorlint // only the response itself
	if !ok {
		return ""
	}
	return Words(response)
}
