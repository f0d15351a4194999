package bitbucket

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const maxRedirects = 5

// Join escapes path segments and joins them. A slash within a segment becomes %2F, and the braces
// of a UUID become %7B and %7D.
func Join(segments ...string) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	return b.String()
}

func parseBase(raw string) (*url.URL, error) {
	base, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("bitbucket: parse the API URL: %w", withoutURL(err))
	}
	if (base.Scheme != "https" && base.Scheme != "http") || base.Hostname() == "" || base.User != nil ||
		base.RawQuery != "" || base.Fragment != "" {
		const format = "bitbucket: API URL %q: use the form https://host[:port][/path]"
		return nil, fmt.Errorf(format, base.Redacted())
	}
	base.Path = strings.TrimSuffix(base.Path, "/")
	base.RawPath = ""
	return base, nil
}

// resolve returns the URL of a path below the base URL.
func (c *Client) resolve(path string, query url.Values) (*url.URL, error) {
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("path %q does not begin with a slash", path)
	}
	u, err := url.Parse(c.base.String() + path)
	if err != nil || !c.isSameOrigin(u) {
		return nil, fmt.Errorf("path %q: invalid", path)
	}
	if err := checkDotSegments(u); err != nil {
		return nil, err
	}
	u.RawQuery = query.Encode()
	return u, nil
}

// checkDotSegments rejects paths with . or .., because a server would leave the base path.
func checkDotSegments(u *url.URL) error {
	if slices.ContainsFunc(strings.Split(u.Path, "/"), func(s string) bool { return s == "." || s == ".." }) {
		return fmt.Errorf("path %q has a dot segment", u.EscapedPath())
	}
	return nil
}

// isSameOrigin reports whether a URL has the origin of the credential.
func (c *Client) isSameOrigin(u *url.URL) bool {
	return u.User == nil && strings.EqualFold(u.Scheme, c.base.Scheme) &&
		strings.EqualFold(u.Hostname(), c.base.Hostname()) && port(u) == port(c.base)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if strings.EqualFold(u.Scheme, "http") {
		return "80"
	}
	return "443"
}

// checkRedirect follows redirects of GET requests only, and removes the credential if the target
// has another origin. net/http compares only host names, and keeps the credential for subdomains.
func (c *Client) checkRedirect(request *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if via[0].Method != http.MethodGet {
		return http.ErrUseLastResponse
	}
	if !c.isSameOrigin(request.URL) {
		request.Header.Del("Authorization")
	}
	return nil
}

// errForeignLink is returned for a link to a further page at another origin.
var errForeignLink = errors.New("the link to the next page has another origin than the API")

// nextPage parses and checks a link to a further page.
func (c *Client) nextPage(link string) (*url.URL, error) {
	u, err := url.Parse(link)
	if err != nil {
		return nil, errors.New("parse the link to the next page")
	}
	if !c.isSameOrigin(u) {
		return nil, fmt.Errorf("%w: %s://%s", errForeignLink, u.Scheme, u.Host)
	}
	return u, checkDotSegments(u)
}
