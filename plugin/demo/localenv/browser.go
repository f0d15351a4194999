package localenv

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// maxPage is the maximum size of a page, in bytes.
const maxPage = 4 << 20

// A Browser visits pages and submits their forms as a person does. It does not run JavaScript.
type Browser struct {
	client *http.Client
	at     *url.URL   // URL of the page, after redirects
	page   *html.Node // nil before the first visit
}

// NewBrowser returns a browser without cookies.
func NewBrowser() (*Browser, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, fmt.Errorf("make a cookie jar: %w", err)
	}
	return &Browser{client: &http.Client{Jar: jar}}, nil
}

// Visit opens a URL. It may be relative to the current page.
func (b *Browser) Visit(ctx context.Context, address string) error {
	target, err := b.resolve(address)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return fmt.Errorf("visit %s: %w", target, err)
	}
	return b.do(req)
}

// Submit sends the form whose action ends in action. values replace the values of its fields; other
// fields keep their values.
func (b *Browser) Submit(ctx context.Context, action string, values url.Values) error {
	form := find(b.page, func(n *html.Node) bool {
		return n.Data == "form" && strings.HasSuffix(path(attr(n, "action"), b.at), action)
	})
	if form == nil {
		return fmt.Errorf("page %s has no form for %s: %s", b.at.Path, action, b.Text())
	}
	data := fields(form)
	for name, v := range values {
		data[name] = v
	}
	target, err := b.resolve(attr(form, "action"))
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(data.Encode()))
	if err != nil {
		return fmt.Errorf("submit %s: %w", target, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.do(req)
}

func (b *Browser) do(req *http.Request) error {
	resp, err := b.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	page, err := html.Parse(io.LimitReader(resp.Body, maxPage))
	if err != nil {
		return fmt.Errorf("read %s: %w", req.URL.Path, err)
	}
	b.at, b.page = resp.Request.URL, page
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s returned %s: %s", req.Method, req.URL.Path, resp.Status, b.Text())
	}
	return nil
}

func (b *Browser) resolve(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("address %q: %w", address, err)
	}
	if b.at != nil {
		return b.at.ResolveReference(u).String(), nil
	}
	if !u.IsAbs() {
		return "", fmt.Errorf("visit %s: the first URL must be absolute", address)
	}
	return u.String(), nil
}

// Text returns the first 400 bytes of the main part of the page as text, for an error message.
func (b *Browser) Text() string {
	root := find(b.page, func(n *html.Node) bool { return n.Data == "main" })
	if root == nil {
		root = b.page
	}
	var words []string
	for n := range root.Descendants() {
		if n.Type == html.TextNode && n.Parent.Data != "script" && n.Parent.Data != "style" {
			words = append(words, strings.Fields(n.Data)...)
		}
	}
	text := strings.Join(words, " ")
	return text[:min(len(text), 400)]
}

// fields returns the values that a form sends if no field is changed.
func fields(form *html.Node) url.Values {
	data := url.Values{}
	for n := range form.Descendants() {
		if n.Type != html.ElementNode || attr(n, "name") == "" {
			continue
		}
		switch n.Data {
		case "input":
			kind := attr(n, "type")
			if kind == "submit" || kind == "button" || ((kind == "checkbox" || kind == "radio") && !has(n, "checked")) {
				continue
			}
			value := attr(n, "value")
			if kind == "checkbox" && value == "" {
				value = "on"
			}
			data.Add(attr(n, "name"), value)
		case "textarea":
			if n.FirstChild != nil {
				data.Add(attr(n, "name"), n.FirstChild.Data)
			}
		case "select":
			data.Add(attr(n, "name"), selected(n))
		}
	}
	return data
}

func selected(n *html.Node) string {
	first := ""
	for option := range n.Descendants() {
		if option.Data != "option" {
			continue
		}
		if has(option, "selected") {
			return attr(option, "value")
		}
		if first == "" {
			first = attr(option, "value")
		}
	}
	return first
}

func path(address string, base *url.URL) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return base.ResolveReference(u).Path
}

func find(root *html.Node, match func(*html.Node) bool) *html.Node {
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && match(n) {
			return n
		}
	}
	return nil
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	for _, a := range n.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}
