package cloud

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"slipway/plugin/bitbucket"
)

// A Repository holds the fields of a repository that lists and single responses share.
type Repository struct {
	UUID          string
	WorkspaceUUID string
	FullName      string
	MainBranch    string // empty for an empty repository
	Private       bool
}

type wireRepository struct {
	UUID       string `json:"uuid"`
	FullName   string `json:"full_name"`
	Private    bool   `json:"is_private"`
	MainBranch *struct {
		Name string `json:"name"`
	} `json:"mainbranch"`
	Workspace struct {
		UUID string `json:"uuid"`
	} `json:"workspace"`
}

func (w wireRepository) repository() Repository {
	r := Repository{UUID: w.UUID, WorkspaceUUID: w.Workspace.UUID, FullName: w.FullName, Private: w.Private}
	if w.MainBranch != nil {
		r.MainBranch = w.MainBranch.Name
	}
	return r
}

// Repository returns a repository by id.
func (c *Client) Repository(ctx context.Context, id RepositoryID) (Repository, error) {
	var w wireRepository
	if _, err := c.get(ctx, id.path(), nil, &w); err != nil {
		return Repository{}, err
	}
	return w.repository(), nil
}

// A RepositoryPage is one page of a workspace's repositories.
type RepositoryPage struct {
	Repositories []Repository
	Next         string // token of the next page; empty on the last one
}

// Repositories lists the repositories of a workspace that the credential can see, latest update
// first. search selects by name. token is empty, or RepositoryPage.Next of the previous page.
func (c *Client) Repositories(ctx context.Context, workspace, search, token string) (RepositoryPage, error) {
	query := page(url.Values{"sort": {"-updated_on"}})
	if search != "" {
		query.Set("q", "name ~ "+quote(search))
	}
	if err := addToken(query, token); err != nil {
		return RepositoryPage{}, err
	}
	var found bitbucket.Page[wireRepository]
	if _, err := c.get(ctx, bitbucket.Join("2.0", "repositories", workspace), query, &found); err != nil {
		return RepositoryPage{}, err
	}
	result := RepositoryPage{}
	for _, w := range found.Values {
		result.Repositories = append(result.Repositories, w.repository())
	}
	next, err := nextToken(found.Next, query)
	result.Next = next
	return result, err
}

// quote returns a string literal of Bitbucket's query language.
// Source: https://developer.atlassian.com/cloud/bitbucket/rest/intro/#filtering.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// errToken is returned for a page token that does not belong to the list.
var errToken = errors.New("the page is not one of this list")

// nextToken returns the part of a link that is not in our own query: usually page=2. The token
// goes through browsers, so it must not become more than a query of the same list.
func nextToken(link string, own url.Values) (string, error) {
	if link == "" {
		return "", nil
	}
	u, err := url.Parse(link)
	if err != nil {
		return "", errors.New("parse the link to the next page")
	}
	added := url.Values{}
	for name, values := range u.Query() {
		if name == "page" || !own.Has(name) {
			added[name] = values
		}
	}
	return added.Encode(), nil
}

// addToken adds the parameters of a page token. They cannot override the parameters of the list.
func addToken(query url.Values, token string) error {
	added, err := url.ParseQuery(token)
	if err != nil || len(token) > maxTokenPart {
		return errToken
	}
	for name, values := range added {
		if query.Has(name) || name == "role" || name == "fields" {
			return errToken
		}
		query[name] = values
	}
	return nil
}
