package pages

import (
	"net/url"
	"strings"

	"slipway/plugin/autobuild"
)

// repositoryURL returns the URL of a repository's page at its provider, from the configured origin and
// the stored name. It is empty if they are not a valid URL.
func repositoryURL(p autobuild.Provider, r autobuild.Repository) string {
	origin, err := url.Parse(p.WebURL)
	if err != nil || (origin.Scheme != "https" && origin.Scheme != "http") || origin.Host == "" {
		return ""
	}
	project, slug, ok := strings.Cut(r.FullName, "/")
	if !ok {
		return ""
	}
	if p.Kind == autobuild.DataCenter {
		return origin.JoinPath("projects", url.PathEscape(project), "repos", url.PathEscape(slug)).String()
	}
	return origin.JoinPath(url.PathEscape(project), url.PathEscape(slug)).String()
}

func commitURL(p autobuild.Provider, r autobuild.Repository, hash string) string {
	repository := repositoryURL(p, r)
	if repository == "" || hash == "" {
		return ""
	}
	return repository + "/commits/" + url.PathEscape(hash)
}

// webhooksURL returns the URL of the page to add a webhook by hand.
// Source: https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/
func webhooksURL(p autobuild.Provider, r autobuild.Repository) string {
	repository := repositoryURL(p, r)
	switch {
	case repository == "":
		return ""
	case p.Kind == autobuild.DataCenter:
		return repository + "/settings/webhooks" // the project's menu: Repository settings → Webhooks
	}
	return repository + "/admin/webhooks"
}
