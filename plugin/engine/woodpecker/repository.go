package woodpecker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
)

const (
	configPath = "/extensions/woodpecker/config"
	secretPath = "/extensions/woodpecker/secret"
)

// extensionURLs are the addresses of the gateway's extensions.
type extensionURLs struct{ config, secret string }

func extensionsAt(gateway string) extensionURLs {
	return extensionURLs{gateway + configPath, gateway + secretPath}
}

// A repoPatch changes settings of a repository. Woodpecker keeps the settings that are nil.
// https://woodpecker-ci.org/api (Repositories)
type repoPatch struct {
	Timeout         *int64    `json:"timeout,omitempty"`
	CancelPrevious  *[]string `json:"cancel_previous_pipeline_events,omitempty"`
	ConfigEndpoint  *string   `json:"config_extension_endpoint,omitempty"`
	ConfigExclusive *bool     `json:"config_extension_exclusive,omitempty"`
	SecretEndpoint  *string   `json:"secret_extension_endpoint,omitempty"`
}

// An extensionState says where the extensions of a repository are.
type extensionState int

const (
	onServer  extensionState = iota // none on the repository, so that those of the server count
	onOurs                          // the gateway's, on the repository alone
	onOurOld                        // the gateway's, not exclusive, or with another scheme or port
	onAnother                       // the extension of another program
	onGateway                       // those of another gateway, or of this one before it moved
	notOurs                         // the gateway sets none
)

// stateOf decides where the extensions of a repository are. Another address with the path of a
// gateway's extension may be that of another gateway with the same builder repository. Each of the two would set its
// own addresses in turn, so that the pipelines of the other one fail.
func (want extensionURLs) stateOf(r repo) extensionState {
	others := func(endpoint, path string) bool { return endpoint != "" && !strings.HasSuffix(endpoint, path) }
	switch {
	case want == extensionURLs{}:
		return notOurs
	case others(r.ConfigEndpoint, configPath), others(r.SecretEndpoint, secretPath):
		return onAnother
	case !sameGateway(r.ConfigEndpoint, want.config), !sameGateway(r.SecretEndpoint, want.secret):
		return onGateway
	case r.ConfigEndpoint == want.config && r.SecretEndpoint == want.secret && r.ConfigExclusive:
		return onOurs
	case r.ConfigEndpoint == "" && r.SecretEndpoint == "":
		return onServer
	}
	return onOurOld
}

// sameGateway reports whether an address is empty, or that of the gateway apart from the scheme and a missing
// port: a proxy may have been put before the gateway.
func sameGateway(endpoint, ours string) bool {
	a, err := url.Parse(endpoint)
	b, ourErr := url.Parse(ours)
	if endpoint == "" || err != nil || ourErr != nil {
		return endpoint == ""
	}
	return strings.EqualFold(a.Hostname(), b.Hostname()) && a.Path == b.Path &&
		(a.Port() == b.Port() || a.Port() == "" || b.Port() == "")
}

// patch returns the change that sets the extensions on a repository alone. They are exclusive, because the
// repository's own configuration must not run with our parameters.
func (want extensionURLs) patch() repoPatch {
	exclusive := true
	return repoPatch{ConfigEndpoint: &want.config, SecretEndpoint: &want.secret, ConfigExclusive: &exclusive}
}

// setExtensions sets the extensions on the builder repository, unless they are there, or those of another
// program are. Other repositories then do not depend on the gateway. A user that may not change the
// repository is no error, because the extensions may be set on the server. If the repository has the extensions
// of another gateway, setExtensions returns ErrForbidden, so that builds wait.
func (c *client) setExtensions(ctx context.Context, r repo) error {
	switch c.extensions.stateOf(r) {
	case onServer, onOurOld:
	case onGateway:
		return fmt.Errorf("%s: %w", anotherGateway(r), autobuild.ErrForbidden)
	case onOurs, onAnother, notOurs:
		return nil
	}
	err := c.patchRepo(ctx, r, c.extensions.patch())
	if errors.Is(err, autobuild.ErrForbidden) || errors.Is(err, autobuild.ErrNotFound) {
		return nil
	}
	return err
}

// anotherGateway describes a repository with the extensions of another gateway, and the fix.
func anotherGateway(r repo) string {
	endpoint, path := r.ConfigEndpoint, configPath
	if endpoint == "" {
		endpoint, path = r.SecretEndpoint, secretPath
	}
	return fmt.Sprintf("%s has the extensions of the gateway at %s: choose another builder repository "+
		"(SLIPWAY_WOODPECKER_REPOSITORY), or, if this gateway was there before, replace them under Settings → Engines",
		r.FullName, strings.TrimSuffix(endpoint, path))
}

func (c *client) patchRepo(ctx context.Context, r repo, change repoPatch) error {
	a, err := c.call(ctx, forgeTimeout, http.MethodPatch, fmt.Sprintf("/api/repos/%d", r.ID), change)
	if err == nil {
		err = a.decode(&repo{})
	}
	if err != nil {
		return fmt.Errorf("change the settings of %s on Woodpecker: %w", r.FullName, err)
	}
	return nil
}

// Fix changes the settings of the builder repository that Inspect finds wrong: its timeout, the events
// that cancel previous pipelines, and the extensions. It replaces the extensions of another program or gateway.
func (e *Engine) Fix(ctx context.Context) error {
	if e.o.Repository == "" {
		return fmt.Errorf("no builder repository is set (SLIPWAY_WOODPECKER_REPOSITORY): %w", autobuild.ErrConflict)
	}
	r, err := e.client.activeRepo(ctx, e.o.Repository)
	if err != nil {
		return err
	}
	change := repoPatch{}
	if e.client.extensions != (extensionURLs{}) {
		change = e.client.extensions.patch()
	}
	if slices.Contains(r.CancelPrevious, event) {
		kept := slices.DeleteFunc(slices.Clone(r.CancelPrevious), func(name string) bool { return name == event })
		change.CancelPrevious = &kept
	}
	limit := e.client.timeoutOf(r)
	if limit.TooShort() {
		minutes := limit.Minutes()
		change.Timeout = &minutes
	}
	err = e.client.patchRepo(ctx, r, change)
	if errors.Is(err, autobuild.ErrForbidden) {
		err = fmt.Errorf("%w; Woodpecker's user must be an administrator of %s, and its server must allow %d minutes "+
			"(WOODPECKER_MAX_PIPELINE_TIMEOUT)", err, r.FullName, limit.Minutes())
	}
	return err
}

// inspectSettings checks the settings of the builder repository.
func (e *Engine) inspectSettings(r repo) []pipeline.Finding {
	timeout := pipeline.Finding{Subject: "timeout"}
	limit := e.client.timeoutOf(r)
	if limit.TooShort() {
		timeout.Problem, timeout.Fixable = limit.Problem(), true
	} else {
		timeout.Good = fmt.Sprintf("%s allows %d minutes, a build takes at most %s",
			r.FullName, limit.Theirs/time.Minute, limit.Ours)
	}
	previous := pipeline.Finding{Subject: "previous pipelines"}
	if slices.Contains(r.CancelPrevious, event) {
		previous.Problem, previous.Fixable = "builds cancel each other: "+cancelPreviousFix(e.client.timeoutOf(r)), true
	} else {
		previous.Good = "builds do not cancel each other"
	}
	return []pipeline.Finding{timeout, previous, e.inspectExtensions(r)}
}

// inspectExtensions reports where the extensions are set. Those of the server are not visible in its API.
func (e *Engine) inspectExtensions(r repo) pipeline.Finding {
	f := pipeline.Finding{Subject: "extensions"}
	switch e.client.extensions.stateOf(r) {
	case onOurs:
		f.Good = "set on " + r.FullName + " alone"
	case onServer:
		f.Good = fmt.Sprintf("not set on %s yet: the first build sets them if our user is an administrator of it; "+
			"otherwise set them on the server", r.FullName)
		f.Fixable = true
	case onOurOld:
		f.Good = fmt.Sprintf("set on %s, with another address of this gateway: the next build corrects it", r.FullName)
		f.Fixable = true
	case onAnother:
		f.Problem = fmt.Sprintf("%s has another extension (%s): choose another builder repository, or replace it "+
			"under Settings → Engines", r.FullName, strings.TrimSpace(r.ConfigEndpoint+" "+r.SecretEndpoint))
		f.Fixable = true
	case onGateway:
		f.Problem, f.Fixable = anotherGateway(r), true
	case notOurs:
		f.Good = "must be set on the server"
	}
	return f
}
