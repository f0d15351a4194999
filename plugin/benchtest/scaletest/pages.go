package main

import (
	"fmt"
	"net/http"
	"strings"

	"slipway/plugin/web/pages"
)

// A page is a page to request.
type page struct {
	path   string
	viewer string
}

func (p page) String() string {
	if p.viewer == administrator {
		return p.path
	}
	return p.path + " (" + p.viewer + ")"
}

// notMeasured returns the routes that show no page of rows, and why.
func notMeasured() map[string]string {
	return map[string]string{
		"/":                                    "redirects",
		"/static/:file":                        "no database",
		"/signin":                              "redirects a person who is signed in",
		"/oauth/bitbucket/link":                "redirects to Bitbucket",
		"/oauth/bitbucket/callback":            "for Bitbucket's redirects",
		"/results/:key":                        "the answer to a form",
		"/builds/:number/pipeline":             "redirects to a CI",
		"/builds/:number/log/stream":           "a stream",
		"/automated-builds/:id/webhook/rotate": "asks Bitbucket",
		"/automated-builds/:id/delete":         "asks Bitbucket",
		"/automated-builds/new":                "asks Bitbucket",
		"/settings/providers/:id/token":        "asks Bitbucket",
	}
}

// variants returns the queries of lists, besides none.
func variants(s size) map[string][]string {
	return map[string][]string{
		"/automated-builds": {"?search=app-0000", "?search=nothing", "?state=failed"},
		"/builds": {
			"?state=active", "?state=succeeded", "?state=failed", "?state=error", "?state=cancelled",
			fmt.Sprintf("?before=%d", s.builds/2),
		},
		"/deliveries": {"?before=" + idOf("d", s.deliveries/2)},
	}
}

// lists are the pages that other people than administrators see, with the rows that they may read.
func lists() []string {
	return []string{"/automated-builds", "/builds", "/builds?state=failed", "/deliveries"}
}

// ids returns the values of a route's parameters.
func ids(route string, s size) string {
	switch {
	case strings.HasPrefix(route, "/automated-builds/"):
		return automatedID(0) // the one with the most builds
	case strings.HasPrefix(route, "/builds/"):
		return fmt.Sprint(s.builds / 2)
	case strings.HasPrefix(route, "/deliveries/"):
		return idOf("d", s.deliveries/2)
	case strings.HasPrefix(route, "/settings/accounts/"):
		return accountID
	case strings.HasPrefix(route, "/settings/registries/"):
		return registryID
	case strings.HasPrefix(route, "/settings/people/"):
		return userID(0)
	}
	return ""
}

// measuredPages returns all pages, from the routes. A route that is not known is an error, so that a new page is not
// forgotten.
func measuredPages(s size) (all []page, err error) {
	excluded := notMeasured()
	for _, r := range new(pages.Pages).Routes() {
		if r.Method != http.MethodGet || excluded[r.Path] != "" {
			continue
		}
		path := r.Path
		if before, after, has := strings.Cut(path, ":"); has {
			_, rest, more := strings.Cut(after, "/")
			id := ids(path, s)
			if id == "" {
				return nil, fmt.Errorf("page %s has a parameter without a value: add it to ids or notMeasured", path)
			}
			path = before + id
			if more {
				path += "/" + rest
			}
		}
		all = append(all, page{path, administrator})
		for _, query := range variants(s)[r.Path] {
			all = append(all, page{path + query, administrator})
		}
	}
	for _, path := range lists() {
		all = append(all, page{path, readerOfAll}, page{path, readerOfFew})
	}
	return append(all, page{"/metrics", administrator}, page{"/readyz", administrator}), nil
}
