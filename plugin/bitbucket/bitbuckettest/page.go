package bitbuckettest

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// The maximum and the default of the parameter pagelen.
const (
	maxPage     = 100
	defaultPage = 10
)

// writePage applies the parameters q, sort, page, pagelen and fields:
// https://developer.atlassian.com/cloud/bitbucket/rest/intro/#pagination.
func (s *Server) writePage(c *call, items []object) error {
	query := c.r.URL.Query()
	items, err := filter(items, query.Get("q"))
	if err != nil {
		return err
	}
	sortBy(items, query.Get("sort"))
	page, length, err := pageOf(query)
	if err != nil {
		return err
	}
	first := min((page-1)*length, len(items))
	last := min(first+length, len(items))
	response := object{
		"values":  append([]object{}, items[first:last]...),
		"pagelen": length,
		"page":    page,
		"size":    len(items),
	}
	if last < len(items) {
		response["next"] = s.pageURL(c.r, page+1)
	}
	if page > 1 {
		response["previous"] = s.pageURL(c.r, page-1)
	}
	return c.respond(response)
}

func pageOf(query url.Values) (page, length int, err error) {
	number := func(name string, defaultValue int) int {
		text := query.Get(name)
		if text == "" {
			return defaultValue
		}
		n, parseErr := strconv.Atoi(text)
		if parseErr != nil || n < 1 || n > 1_000_000 {
			err = &apiError{status: http.StatusBadRequest, message: "Invalid " + name}
		}
		return n
	}
	page, length = number("page", 1), number("pagelen", defaultPage)
	if err == nil && length > maxPage {
		err = &apiError{status: http.StatusBadRequest, message: "Invalid pagelen"}
	}
	return page, length, err
}

func (s *Server) pageURL(r *http.Request, page int) string {
	query := r.URL.Query()
	query.Set("page", strconv.Itoa(page))
	return s.URL() + r.URL.EscapedPath() + "?" + query.Encode()
}

// sortBy sorts items by the dotted path of a field. A minus reverses the order.
func sortBy(items []object, by string) {
	if by == "" {
		return
	}
	path, descending := strings.CutPrefix(by, "-")
	slices.SortStableFunc(items, func(a, b object) int {
		order := cmp.Compare(textAt(a, path), textAt(b, path))
		if descending {
			return -order
		}
		return order
	})
}

// valueAt returns the value at a dotted path, or nil.
func valueAt(o object, path string) any {
	head, rest, deeper := strings.Cut(path, ".")
	value := o[head]
	if !deeper {
		return value
	}
	inner, ok := value.(object)
	if !ok {
		return nil
	}
	return valueAt(inner, rest)
}

// textAt returns the value at a dotted path as a text with the same order.
func textAt(o object, path string) string {
	switch value := valueAt(o, path).(type) {
	case string:
		return value
	case bool:
		return strconv.FormatBool(value)
	case int64:
		return strconv.FormatInt(value, 10)
	default:
		return ""
	}
}
