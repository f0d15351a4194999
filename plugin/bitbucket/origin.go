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

// Join escapes path segments and joins them: slashes within one become %2F, the braces of a
// uuid %7B and %7D.
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
		return nil, fmt.Errorf("bitbucket: the API's URL cannot be read: %w", withoutURL(err))
	}
	if (base.Scheme != "https" && base.Scheme != "http") || base.Hostname() == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, fmt.Errorf("bitbucket: the API's URL %q is not of the form https://host[:port][/path]", base.Redacted())
	}
	base.Path = strings.TrimSuffix(base.Path, "/")
	base.RawPath = ""
	return base, nil
}

// resolve makes the URL of a path below the base.
func (c *Client) resolve(path string, query url.Values) (*url.URL, error) {
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("path %q does not begin with a slash", path)
	}
	u, err := url.Parse(c.base.String() + path)
	if err != nil || !c.owns(u) {
		return nil, fmt.Errorf("path %q cannot be used", path)
	}
	if err := plain(u); err != nil {
		return nil, err
	}
	u.RawQuery = query.Encode()
	return u, nil
}

// plain refuses paths that a server would walk up in.
func plain(u *url.URL) error {
	if slices.ContainsFunc(strings.Split(u.Path, "/"), func(s string) bool { return s == "." || s == ".." }) {
		return fmt.Errorf("path %q has a dot segment", u.EscapedPath())
	}
	return nil
}

// owns reports whether a URL is of the origin that the credential is for.
func (c *Client) owns(u *url.URL) bool {
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

// redirect follows only reads, and takes the credential off what leaves the origin. net/http
// by itself compares host names alone, and keeps it for subdomains.
func (c *Client) redirect(request *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if via[0].Method != http.MethodGet {
		return http.ErrUseLastResponse
	}
	if !c.owns(request.URL) {
		request.Header.Del("Authorization")
	}
	return nil
}

var errForeignLink = errors.New("the link to the next page leaves the API's origin")

// next checks a link to a further page.
func (c *Client) next(link string) (*url.URL, error) {
	u, err := url.Parse(link)
	if err != nil {
		return nil, errors.New("the link to the next page cannot be read")
	}
	if !c.owns(u) {
		return nil, fmt.Errorf("%w: %s://%s", errForeignLink, u.Scheme, u.Host)
	}
	return u, plain(u)
}
