package bitbucket

import (
	"fmt"
	"net/url"
	"strings"
)

// The limits of build statuses in characters, on both Cloud and Data Center. A key of Data Center
// may have 255 characters.
// Sources: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commit-statuses/ and
// https://developer.atlassian.com/server/bitbucket/rest/v905/api-group-builds-and-deployments/.
const (
	MaxStatusKey  = 40
	MaxStatusText = 255
	MaxStatusURL  = 450
)

// StatusURL returns the link of a status in the form that Bitbucket accepts. It encodes braces,
// because Cloud expands {repository.full_name} and similar placeholders. It never shortens a
// link, and its error is written for users.
func StatusURL(raw string) (string, error) {
	link := strings.NewReplacer("{", "%7B", "}", "%7D").Replace(raw)
	u, err := url.Parse(link)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return "", fmt.Errorf("link %q is not an absolute URL", raw)
	}
	if len(link) > MaxStatusURL {
		const format = "link of %d characters is longer than the %d that Bitbucket accepts: use a shorter public URL"
		return "", fmt.Errorf(format, len(link), MaxStatusURL)
	}
	return link, nil
}

// StatusText shortens a name or a description to 255 characters, Bitbucket's limit.
func StatusText(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if runes := []rune(text); len(runes) > MaxStatusText {
		return string(runes[:MaxStatusText-1]) + "…"
	}
	return text
}
