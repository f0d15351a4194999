package localenv

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"slipway/config/secret"
)

// A Checkout is a person's clone of a repository. It uses the git program.
type Checkout struct {
	dir  string
	home string
	auth secret.Secret // value of git's http.extraHeader
}

// NewCheckout creates an empty repository below dir whose remote origin is url.
func NewCheckout(ctx context.Context, dir, url, user string, password secret.Secret) (*Checkout, error) {
	basic := base64.StdEncoding.EncodeToString([]byte(user + ":" + password.Reveal()))
	c := &Checkout{
		dir:  filepath.Join(dir, "app"),
		home: filepath.Join(dir, "home"),
		auth: secret.New("Authorization: Basic " + basic),
	}
	for _, d := range []string{c.dir, c.home} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	if _, err := c.Git(ctx, "init", "--quiet", "--initial-branch=main"); err != nil {
		return nil, err
	}
	_, err := c.Git(ctx, "remote", "add", "origin", url)
	return c, err
}

// Commit writes files and commits them. It returns the hash of the commit.
func (c *Checkout) Commit(ctx context.Context, message string, files map[string]string) (string, error) {
	for path, content := range files {
		full := filepath.Join(c.dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			return "", err
		}
		if err := os.WriteFile(full, []byte(content), 0o600); err != nil {
			return "", err
		}
	}
	if _, err := c.Git(ctx, "add", "--all"); err != nil {
		return "", err
	}
	if _, err := c.Git(ctx, "commit", "--quiet", "-m", message); err != nil {
		return "", err
	}
	return c.Git(ctx, "rev-parse", "HEAD")
}

// Push pushes refs and returns the time before the push.
func (c *Checkout) Push(ctx context.Context, refs ...string) (time.Time, error) {
	sent := time.Now()
	_, err := c.Git(ctx, append([]string{"push", "--quiet", "origin"}, refs...)...)
	return sent, err
}

// Git runs git in the checkout and returns its output.
func (c *Checkout) Git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...) //nolint:gosec // arguments of the demo and tests
	cmd.Dir = c.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + c.home,
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Alice",
		"GIT_AUTHOR_EMAIL=alice@example.com",
		"GIT_COMMITTER_NAME=Alice",
		"GIT_COMMITTER_EMAIL=alice@example.com",
		"GIT_CONFIG_COUNT=1",
		"GIT_CONFIG_KEY_0=http.extraHeader",
		"GIT_CONFIG_VALUE_0=" + c.auth.Reveal(),
	}
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, text)
	}
	return text, nil
}
