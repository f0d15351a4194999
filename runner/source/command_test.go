package source

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/secret"
)

func TestO3CommandsAreValues(t *testing.T) {
	hash := strings.Repeat("a", 40)
	tests := map[string]struct {
		got  []string
		want string
	}{
		"init": {initArgs(hash), "init --quiet --template= --initial-branch=slipway --object-format=sha1"},
		"init 256": {
			initArgs(strings.Repeat("a", 64)),
			"init --quiet --template= --initial-branch=slipway --object-format=sha256",
		},
		"remote": {remoteArgs("https://h/r"), "config --local remote.origin.url https://h/r"},
		"hash": {
			fetchHashArgs(hash),
			"fetch --quiet --no-tags --no-recurse-submodules --no-auto-maintenance --no-write-fetch-head --depth=1 --end-of-options origin " + hash,
		},
		"ref": {
			fetchRefArgs("refs/heads/--upload-pack=x", shallow),
			"fetch --quiet --no-tags --no-recurse-submodules --no-auto-maintenance --no-write-fetch-head --depth=1 --end-of-options origin +refs/heads/--upload-pack=x:refs/slipway/source",
		},
		"whole": {
			fetchRefArgs("refs/tags/v1", whole),
			"fetch --quiet --no-tags --no-recurse-submodules --no-auto-maintenance --no-write-fetch-head --unshallow --end-of-options origin +refs/tags/v1:refs/slipway/source",
		},
		"contains": {containsArgs(hash), "merge-base --is-ancestor --end-of-options " + hash + " refs/slipway/source"},
		"checkout": {checkoutArgs(hash), "checkout --quiet --force --no-recurse-submodules --detach " + hash + " --"},
	}
	for name, tt := range tests {
		if diff := cmp.Diff(strings.Split(tt.want, " "), tt.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestO3EnvironmentIsClosed(t *testing.T) {
	p := Proxy{URL: "https://ci.example.com/git/b1", Token: secret.New("canary")}
	outer := []string{
		"PATH=/usr/bin", "GIT_SSH_COMMAND=evil", "LD_PRELOAD=evil.so", "HOME=/root", "https_proxy=http://proxy:3128",
		"SLIPWAY_RUNNER_TOKEN=canary", "SSL_CERT_FILE=/etc/ca.pem", "GIT_CONFIG_COUNT=0",
	}
	env := environment("/home/empty", outer, append(p.lfs(), p.access("https://bitbucket.org/acme/app.git")...)...)
	for _, want := range []string{
		"HOME=/home/empty", "PATH=/usr/bin", "https_proxy=http://proxy:3128", "GIT_SSL_CAINFO=/etc/ca.pem", "GIT_ALLOW_PROTOCOL=https:http",
		"GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_COUNT=13",
		"GIT_CONFIG_KEY_0=core.hooksPath", "GIT_CONFIG_VALUE_0=/dev/null", "GIT_CONFIG_KEY_2=protocol.ext.allow", "GIT_CONFIG_VALUE_2=never",
		"GIT_CONFIG_KEY_10=lfs.url", "GIT_CONFIG_VALUE_10=https://ci.example.com/git/b1/info/lfs",
		"GIT_CONFIG_KEY_11=url.https://ci.example.com/git/b1.insteadOf", "GIT_CONFIG_VALUE_11=https://bitbucket.org/acme/app.git",
		"GIT_CONFIG_KEY_12=http.https://ci.example.com/git/b1/.extraHeader", "GIT_CONFIG_VALUE_12=Authorization: Bearer canary",
	} {
		if !slices.Contains(env, want) {
			t.Errorf("environment of git: got %q, want %s in it", env, want)
		}
	}
	for _, line := range env {
		if line == "GIT_CONFIG_VALUE_12=Authorization: Bearer canary" {
			continue // the one place for the token
		}
		switch {
		case strings.Contains(line, "canary"):
			t.Errorf("environment of git: got %s, want no token in it", line)
		case strings.Contains(line, "evil"):
			t.Errorf("environment of git: got %s, want no variable of the CI's in it", line)
		case line == "HOME=/root":
			t.Errorf("environment of git: got %s, want another home", line)
		case line == "GIT_CONFIG_COUNT=0":
			t.Errorf("environment of git: got %s, want another count", line)
		}
	}
}

func TestClassify(t *testing.T) {
	for output, want := range map[string]error{
		"fatal: remote error: upload-pack: not our ref 11":                                                              errNotServed,
		"fatal: couldn't find remote ref refs/heads/x":                                                                  errNotServed,
		"fatal: could not read Username for 'https://h': terminal prompts disabled":                                     ErrUnauthorized,
		"fatal: Authentication failed for 'https://h/r/'":                                                               ErrUnauthorized,
		"fatal: repository 'https://h/r/' not found":                                                                    ErrNotFound,
		"fatal: unable to access 'h': The requested URL returned error: 302":                                            errRedirected,
		"fatal: unable to access 'h': The requested URL returned error: 503":                                            errTemporary,
		"fatal: unable to access 'h': Could not resolve host: h":                                                        errTemporary,
		"fatal: write error: No space left on device":                                                                   errLocal,
		"remote: the attempt has ended\nfatal: unable to access 'h': The requested URL returned error: 403":             ErrAttemptOver,
		"remote: X: link the account again under S\nfatal: unable to access 'h': The requested URL returned error: 502": ErrRelink,
		"remote: this address needs the token of a running attempt\nfatal: unable to access 'h': error: 403":            ErrUnauthorized,
		"error: RPC failed; curl 56 GnuTLS recv error\nfatal: early EOF":                                                errTemporary,
	} {
		if got := classify("fetch", output); !errors.Is(got, want) {
			t.Errorf("%q: got %v, want %v", output, got, want)
		}
	}
	if got := classify("checkout", "early EOF"); got != nil {
		t.Errorf("error of a checkout: got %v, want nil, because only fetches are classified", got)
	}
}

// A fetch that ends with its attempt looks like a network error, but is not retried.
func TestTheEndOfAnAttemptIsNotRetried(t *testing.T) {
	over := errors.New("the attempt's end")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(over)
	err := git{program: "/bin/true", dir: t.TempDir()}.run(ctx, []string{"fetch"})
	if !errors.Is(err, over) {
		t.Errorf("ended fetch: got error %v, want the cause %v", err, over)
	}
	if errors.Is(err, errTemporary) {
		t.Errorf("ended fetch: got error %v, want one that is not retried", err)
	}
}

func TestOutputIsBounded(t *testing.T) {
	h := &head{limit: maxOutput}
	for range 3 {
		if n, err := h.Write(make([]byte, maxOutput-1)); n != maxOutput-1 || err != nil {
			t.Fatal(n, err)
		}
	}
	if h.Len() != maxOutput {
		t.Errorf("kept output: got %d bytes, want %d", h.Len(), maxOutput)
	}
}
