package localenv

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"slipway/plugin/autobuild"
)

// Tab returns a browser with the same cookies and a page of its own, so that several
// tests may use one sign-in at once.
func (b *Browser) Tab() *Browser { return &Browser{client: b.client, at: b.at} }

// Fetch reads an address as text and leaves the page as it is.
func (b *Browser) Fetch(ctx context.Context, address string) (string, error) {
	target, err := b.resolve(address)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return "", fmt.Errorf("fetch %s: %w", target, err)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("fetch %s: %s", target, resp.Status)
	}
	return string(text), err
}

// Says reports whether the page says a text, line breaks and spaces apart.
func (b *Browser) Says(text string) bool {
	return strings.Contains(strings.Join(strings.Fields(textOf(b.page)), " "), text)
}

// After returns the word that follows a text on the page; empty when there is none.
func (b *Browser) After(text string) string {
	_, rest, _ := strings.Cut(strings.Join(strings.Fields(textOf(b.page)), " "), text+" ")
	word, _, _ := strings.Cut(rest, " ")
	return word
}

// AddRegistry stores the credential of the world's registry through the pages.
func (w *Env) AddRegistry(ctx context.Context, b *Browser) error {
	const page = "/settings/registries"
	if err := b.Visit(ctx, page); err != nil {
		return err
	}
	return b.Submit(ctx, page, w.registryForm())
}

// AddPullCredential stores the same credential for base images through the pages.
func (w *Env) AddPullCredential(ctx context.Context, b *Browser) error {
	const page = "/settings/registries"
	if err := b.Visit(ctx, page); err != nil {
		return err
	}
	form := w.registryForm()
	form.Set("purpose", "pull")
	return b.Submit(ctx, page, form)
}

func (w *Env) registryForm() url.Values {
	return url.Values{
		"host": {
			w.Registry,
		},
		"username": {RegistryUser},
		"password": {w.options.RegistryPassword.Reveal()},
		"insecure": {"on"},
	}
}

// Unlink unlinks Alice's account through the pages, with the name typed as asked.
func (w *Env) Unlink(ctx context.Context, b *Browser, accountID string) error {
	page := "/settings/accounts/" + accountID + "/unlink"
	if err := b.Visit(ctx, page); err != nil {
		return err
	}
	return b.Submit(ctx, page, url.Values{"name": {w.Alice.Name}})
}

// The buttons of a build's page.
const (
	Cancel  = "cancel"
	Retry   = "retry"
	Rebuild = "rebuild"
)

// Press presses a button of a build's page.
func (b *Browser) Press(ctx context.Context, build autobuild.Build, button string) error {
	page := fmt.Sprintf("/builds/%d", build.Number)
	if err := b.Visit(ctx, page); err != nil {
		return err
	}
	return b.Submit(ctx, page+"/"+button, nil)
}

// Log reads an attempt's log, as it was written, from an offset to its present end.
func (b *Browser) Log(ctx context.Context, build autobuild.Build, attempt, offset int) (string, error) {
	return b.Fetch(ctx, fmt.Sprintf("/builds/%d/log?raw=1&attempt=%d&offset=%d", build.Number, attempt, offset))
}

// WaitLog returns an attempt's log once met is true of it, or ctx ends.
func (b *Browser) WaitLog(
	ctx context.Context,
	build autobuild.Build,
	attempt int,
	met func(log string) bool,
) (string, error) {
	var log string
	err := wait(ctx, func() (bool, error) {
		var err error
		log, err = b.Log(ctx, build, attempt, 0)
		return err == nil && met(log), err
	})
	if err != nil {
		return log, fmt.Errorf("wait for the log of build %d, it is %.2000q: %w", build.Number, log, err)
	}
	return log, nil
}
