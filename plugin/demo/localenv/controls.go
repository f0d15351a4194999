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

// Tab returns a browser with the same cookies and a page of its own. So concurrent tests can share
// one session.
func (b *Browser) Tab() *Browser { return &Browser{client: b.client, at: b.at} }

// Fetch returns the text at a URL. The browser stays on its page.
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

// Contains reports whether the page contains a text, ignoring differences in white space.
func (b *Browser) Contains(text string) bool {
	return strings.Contains(strings.Join(strings.Fields(textOf(b.page)), " "), text)
}

// After returns the word that follows a text on the page, or "".
func (b *Browser) After(text string) string {
	_, rest, _ := strings.Cut(strings.Join(strings.Fields(textOf(b.page)), " "), text+" ")
	word, _, _ := strings.Cut(rest, " ")
	return word
}

// AddRegistry stores a push credential for the registry through the pages.
func (env *Env) AddRegistry(ctx context.Context, b *Browser) error {
	const page = "/settings/registries"
	if err := b.Visit(ctx, page); err != nil {
		return err
	}
	return b.Submit(ctx, page, env.registryForm())
}

// AddPullCredential stores a pull credential for the registry through the pages.
func (env *Env) AddPullCredential(ctx context.Context, b *Browser) error {
	const page = "/settings/registries"
	if err := b.Visit(ctx, page); err != nil {
		return err
	}
	form := env.registryForm()
	form.Set("purpose", "pull")
	return b.Submit(ctx, page, form)
}

func (env *Env) registryForm() url.Values {
	return url.Values{
		"host":     {env.Registry},
		"username": {RegistryUser},
		"password": {env.options.RegistryPassword.Reveal()},
		"insecure": {"on"},
	}
}

// Unlink unlinks Alice's account through the pages. It types the account's name to confirm.
func (env *Env) Unlink(ctx context.Context, b *Browser, accountID string) error {
	page := "/settings/accounts/" + accountID + "/unlink"
	if err := b.Visit(ctx, page); err != nil {
		return err
	}
	return b.Submit(ctx, page, url.Values{"name": {env.Alice.Name}})
}

// The buttons on the page of a build.
const (
	Cancel  = "cancel"
	Retry   = "retry"
	Rebuild = "rebuild"
)

// Press presses a button on the page of a build.
func (b *Browser) Press(ctx context.Context, build autobuild.Build, button string) error {
	page := fmt.Sprintf("/builds/%d", build.Number)
	if err := b.Visit(ctx, page); err != nil {
		return err
	}
	return b.Submit(ctx, page+"/"+button, nil)
}

// Log returns the raw log of an attempt from an offset in bytes to its current end.
func (b *Browser) Log(ctx context.Context, build autobuild.Build, attempt, offset int) (string, error) {
	return b.Fetch(ctx, fmt.Sprintf("/builds/%d/log?raw=1&attempt=%d&offset=%d", build.Number, attempt, offset))
}

// WaitLog waits until met returns true for the log of an attempt, and returns the log. It returns an
// error if ctx ends first.
func (b *Browser) WaitLog(
	ctx context.Context, build autobuild.Build, attempt int, met func(log string) bool,
) (string, error) {
	var log string
	err := Wait(ctx, func() (bool, error) {
		var err error
		log, err = b.Log(ctx, build, attempt, 0)
		return err == nil && met(log), err
	})
	if err != nil {
		return log, fmt.Errorf("wait for the log of build %d: got %.2000q: %w", build.Number, log, err)
	}
	return log, nil
}
