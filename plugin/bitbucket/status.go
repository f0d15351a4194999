package bitbucket

import (
	"fmt"
	"net/url"
	"strings"
)

// The limits on build statuses that Cloud and Data Center both keep, in characters; a key of
// Data Center may be as long as a text.
// Sources: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commit-statuses/ and
// https://developer.atlassian.com/server/bitbucket/rest/v905/api-group-builds-and-deployments/.
const (
	MaxStatusKey  = 40
	MaxStatusText = 255
	MaxStatusURL  = 450
)

// StatusURL is the link of a status in the form that Bitbucket takes. Braces are encoded: Cloud
// expands {repository.full_name} and its like. Its error is for people; a link is never cut.
func StatusURL(raw string) (string, error) {
	link := strings.NewReplacer("{", "%7B", "}", "%7D").Replace(raw)
	u, err := url.Parse(link)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return "", fmt.Errorf("link %q is not an absolute URL", raw)
	}
	if len(link) > MaxStatusURL {
		return "", fmt.Errorf("link of %d characters is longer than the %d that Bitbucket takes; use a shorter public URL", len(link), MaxStatusURL)
	}
	return link, nil
}

// StatusText shortens a name or a description to what Bitbucket takes, on the border of a
// character.
func StatusText(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if runes := []rune(text); len(runes) > MaxStatusText {
		return string(runes[:MaxStatusText-1]) + "…"
	}
	return text
}
