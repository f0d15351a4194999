package bitbuckettest

import (
	"cmp"
	"encoding/hex"
	"hash/fnv"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// A listing describes how Bitbucket pages one of its lists. The lists differ, as recorded answers show:
// https://developer.atlassian.com/cloud/bitbucket/rest/intro/#pagination.
type listing struct {
	length  int  // default of pagelen
	most    int  // maximum of pagelen
	size    size // the field "size"
	opaque  bool // "page" is a token from the link of the previous page, and never a number
	context bool // the link of the next page has the parameter ctx, and pages have no field "page"
	ordered bool // without "sort" the order is the documented one, and not an arbitrary one
}

// A size says which pages have the field "size".
type size int

const (
	always size = iota
	never
	alone      // only a page that is the whole list
	unfiltered // only lists without the parameter q
)

// The lists of the API.
var (
	repositoryList = listing{length: 10, most: 100} // workspaces, too
	permissionList = listing{length: 10, most: 100, size: unfiltered}
	shortList      = listing{length: 10, most: 100, ordered: true} // e.g. webhooks
	refList        = listing{length: 10, most: 100, size: alone}
	sourceList     = listing{length: 10, most: 100, size: never, opaque: true, ordered: true}
	commitList     = listing{length: 30, most: 100, size: never, context: true, ordered: true}
	changeList     = listing{length: 500, most: 500, ordered: true}
)

// A Page is one request for a page of a list.
type Page struct {
	Path   string // of the request, e.g. /2.0/repositories/acme/app/refs/tags
	Number int    // from 1
}

// OnPage calls f before the server reads the data of a page, so that a test can change a repository
// between the pages of a list. nil removes it. f runs in the request, and may call all methods.
func (s *Server) OnPage(f func(Page)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onPage = f
}

// A window is the part of a list that a request asks for.
type window struct {
	listing
	number int // of the page, from 1
	sort   string
}

// paged checks the parameters of a list before h reads its data. h calls writePage.
func (s *Server) paged(kind listing, h handler) handler {
	return func(c *call) error {
		asked := kind
		query := c.r.URL.Query()
		if query.Get("q") != "" {
			asked = kind.filtered()
		}
		var err error
		c.page, err = windowOf(asked, query)
		if err != nil {
			return err
		}
		s.mu.Lock()
		notify := s.onPage
		s.mu.Unlock()
		if notify != nil {
			notify(Page{Path: c.r.URL.Path, Number: c.page.number})
		}
		return h(c)
	}
}

// filtered returns the form of the list with the parameter q. Filtered refs have tokens instead of page
// numbers, so that page=1 is an error: https://github.com/CenterForOpenScience/osf.io/pull/8665.
func (l listing) filtered() listing {
	switch l.size {
	case alone:
		l.opaque, l.size = true, never
	case unfiltered:
		l.size = never
	}
	return l
}

func windowOf(kind listing, query url.Values) (window, error) {
	w := window{listing: kind, number: 1, sort: query.Get("sort")}
	if text := query.Get("pagelen"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > kind.most {
			return w, badRequest("Invalid pagelen")
		}
		w.length = n
	}
	text := query.Get("page")
	if text == "" {
		return w, nil
	}
	n, ok := parsePageNumber(text, kind.opaque)
	if !ok {
		return w, badRequest("Invalid page")
	}
	w.number = n
	return w, nil
}

// maxPageNumber is the highest number of a page.
const maxPageNumber = 1_000_000

func parsePageNumber(text string, opaque bool) (int, bool) {
	if !opaque {
		n, err := strconv.Atoi(text)
		return n, err == nil && n >= 1 && n <= maxPageNumber
	}
	code, err := strconv.ParseUint(text, pageBase, 32)
	if err != nil {
		return 0, false
	}
	n := code ^ pageKey
	return int(n), n >= 1 && n <= maxPageNumber //nolint:gosec // both are less than 2^32
}

// The tokens of pages have the form of Bitbucket's, for example 8xhd: the same number has the same token
// in every list.
const (
	pageBase = 36
	pageKey  = 1_331_563
)

func pageToken(number int) string {
	return strconv.FormatUint(uint64(number)^pageKey, pageBase) //nolint:gosec // numbers are positive
}

// writePage applies the parameters q, sort, page, pagelen and fields to the items of a list.
func (s *Server) writePage(c *call, items []object) error {
	query, w := c.r.URL.Query(), c.page
	items, err := filter(items, query.Get("q"))
	if err != nil {
		return err
	}
	if !w.ordered {
		s.disorder(items, w.number)
	}
	sortBy(items, w.sort)
	first := min((w.number-1)*w.length, len(items))
	last := min(first+w.length, len(items))
	response := object{"values": append([]object{}, items[first:last]...), "pagelen": w.length}
	if !w.context {
		response["page"] = w.number
	}
	whole := first == 0 && last == len(items)
	if w.size == always || w.size == unfiltered || w.size == alone && whole {
		response["size"] = len(items)
	}
	if last < len(items) {
		response["next"] = s.pageURL(c, w.number+1)
	}
	if w.number > 1 && !w.opaque && !w.context {
		response["previous"] = s.pageURL(c, w.number-1)
	}
	return c.respond(response)
}

func (s *Server) pageURL(c *call, number int) string {
	query := c.r.URL.Query()
	query.Set("page", strconv.Itoa(number))
	if c.page.opaque {
		query.Set("page", pageToken(number))
	}
	if c.page.context {
		sum := fnv.New128a()
		_, _ = sum.Write([]byte(c.r.URL.Path)) // a hash never returns an error
		query.Set("ctx", hex.EncodeToString(sum.Sum(nil)))
	}
	return s.URL() + c.r.URL.EscapedPath() + "?" + query.Encode()
}

// disorder gives items an arbitrary order, because Bitbucket promises none. With Options.UnstableOrder
// each page is cut from another order, so that a list without "sort" can repeat and omit items:
// https://github.com/backstage/backstage/issues/26854.
func (s *Server) disorder(items []object, page int) {
	seed := 0
	if s.options.UnstableOrder {
		seed = page
	}
	rank := func(o object) string {
		sum := fnv.New64a()
		_, _ = sum.Write([]byte(strconv.Itoa(seed) + " ")) // a hash never returns an error
		for _, path := range []string{"name", "uuid", "repository.uuid", "user.uuid", "workspace.uuid"} {
			_, _ = sum.Write([]byte(textAt(o, path)))
		}
		return string(sum.Sum(nil))
	}
	slices.SortStableFunc(items, func(a, b object) int { return cmp.Compare(rank(a), rank(b)) })
}

// sortBy sorts items by the dotted path of a field. A minus reverses the order. Names are sorted
// naturally, with v2 before v10, as Bitbucket sorts the names of refs.
func sortBy(items []object, by string) {
	if by == "" {
		return
	}
	path, descending := strings.CutPrefix(by, "-")
	compare := strings.Compare
	if path == "name" {
		compare = compareNaturally
	}
	slices.SortStableFunc(items, func(a, b object) int {
		order := compare(textAt(a, path), textAt(b, path))
		if descending {
			return -order
		}
		return order
	})
}

// compareNaturally compares texts with numbers in them: sequences of digits compare as numbers.
func compareNaturally(a, b string) int {
	for a != "" && b != "" {
		partA, partB := leadingPart(a), leadingPart(b)
		a, b = a[len(partA):], b[len(partB):]
		order := strings.Compare(partA, partB)
		if isDigit(rune(partA[0])) && isDigit(rune(partB[0])) {
			partA, partB = strings.TrimLeft(partA, "0"), strings.TrimLeft(partB, "0")
			order = cmp.Or(cmp.Compare(len(partA), len(partB)), strings.Compare(partA, partB), order)
		}
		if order != 0 {
			return order
		}
	}
	return cmp.Compare(len(a), len(b))
}

// leadingPart returns the digits, or the other characters, that a text that is not empty begins with.
func leadingPart(text string) string {
	digits := isDigit(rune(text[0]))
	end := strings.IndexFunc(text, func(r rune) bool { return isDigit(r) != digits })
	if end < 0 {
		return text
	}
	return text[:end]
}

func isDigit(r rune) bool { return r <= unicode.MaxASCII && unicode.IsDigit(r) }

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
