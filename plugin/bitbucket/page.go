package bitbucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// ErrTooMany is returned if a list has more pages than the caller reads.
var ErrTooMany = errors.New("the list is too long")

// A Page is one page of a list of Cloud.
// Source: https://developer.atlassian.com/cloud/bitbucket/rest/intro/#pagination
type Page[T any] struct {
	Values []T    `json:"values"`
	Next   string `json:"next"` // absent on the last page
}

// All reads all pages of a list by following its links, which must have the API's origin. After
// maxPages it returns the entries so far with ErrTooMany.
func All[T any](ctx context.Context, c *Client, r Request, maxPages int) ([]T, error) {
	r.Method = http.MethodGet
	call, err := c.prepare(r)
	if err != nil {
		return nil, err
	}
	var values []T
	for range maxPages {
		var page Page[T]
		if _, err := c.do(ctx, call, &page); err != nil {
			return values, err
		}
		values = append(values, page.Values...)
		if page.Next == "" {
			return values, nil
		}
		next, err := c.nextPage(page.Next)
		if err != nil {
			return values, fmt.Errorf("%s: %w", call, err)
		}
		if next.String() == call.url.String() {
			return values, fmt.Errorf("%s: the next page is the same page", call)
		}
		call.url = next
	}
	return values, fmt.Errorf("%s: %w: more than %d pages", call, ErrTooMany, maxPages)
}
