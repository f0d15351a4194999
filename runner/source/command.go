package source

import (
	"slices"
	"strconv"
	"strings"
)

// The arguments of git commands. A value from a repository or a payload follows --end-of-options, or is a
// full hash or a full ref. A full hash or ref was checked before and cannot begin with a dash. A legal
// ref may be refs/heads/--upload-pack=x (as in CVE-2026-40938).
// Source: https://git-scm.com/docs/gitcli

func initArgs(commit string) []string {
	format := "sha1"
	if len(commit) == 64 {
		format = "sha256"
	}
	return []string{"init", "--quiet", "--template=", "--initial-branch=slipway", "--object-format=" + format}
}

// remoteArgs sets the remote origin, so that build hooks may run git fetch --unshallow as at Docker Hub.
// The address contains no credential.
func remoteArgs(address string) []string {
	return []string{"config", "--local", "remote.origin.url", address}
}

func fetchHashArgs(commit string) []string {
	return append(fetchArgs(), "--depth=1", "--end-of-options", "origin", commit)
}

type depth bool

const (
	shallow depth = false
	whole   depth = true
)

func fetchRefArgs(ref string, d depth) []string {
	limit := "--depth=1"
	if d == whole {
		limit = "--unshallow"
	}
	return append(fetchArgs(), limit, "--end-of-options", "origin", "+"+ref+":refs/slipway/source")
}

// fetchEverythingArgs fetches every branch and tag with its history, for servers that serve nothing else.
func fetchEverythingArgs() []string {
	return append(
		fetchArgs(),
		"--end-of-options",
		"origin",
		"+refs/heads/*:refs/slipway/heads/*",
		"+refs/tags/*:refs/slipway/tags/*",
	)
}

func fetchArgs() []string {
	return []string{
		"fetch",
		"--quiet",
		"--no-tags",
		"--no-recurse-submodules",
		"--no-auto-maintenance",
		"--no-write-fetch-head",
	}
}

// containsArgs checks that the commit is part of the history that was fetched by ref.
func containsArgs(commit string) []string {
	return []string{"merge-base", "--is-ancestor", "--end-of-options", commit, "refs/slipway/source"}
}

// checkoutArgs cannot use --end-of-options: before version 2.43 git checkout reads it as a path. A full
// hash is never an option.
func checkoutArgs(commit string) []string {
	return []string{"checkout", "--quiet", "--force", "--no-recurse-submodules", "--detach", commit, "--"}
}

// A setting is one line of git's configuration, passed in the environment.
// Source: https://git-scm.com/docs/git-config#ENVIRONMENT
type setting struct{ key, value string }

func hardening() []setting {
	return []setting{
		{"core.hooksPath", "/dev/null"},
		{"core.fsmonitor", "false"},
		{"protocol.ext.allow", "never"},
		{"submodule.recurse", "false"},
		{"fetch.recurseSubmodules", "false"},
		{"credential.helper", ""},
		{"http.followRedirects", "false"}, // a redirect would carry the credential to another host
		{"http.lowSpeedLimit", "1000"},
		{"http.lowSpeedTime", "60"},
		{"gc.auto", "0"},
	}
}

// environment returns the complete environment of git.
func environment(home string, outer []string, more ...setting) []string {
	settings := append(hardening(), more...)
	env := []string{
		"HOME=" + home, "XDG_CONFIG_HOME=" + home, "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1",
		"GIT_ALLOW_PROTOCOL=https:http", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "SSH_ASKPASS=",
		"GIT_CONFIG_COUNT=" + strconv.Itoa(len(settings)),
	}
	for i, s := range settings {
		n := strconv.Itoa(i)
		env = append(env, "GIT_CONFIG_KEY_"+n+"="+s.key, "GIT_CONFIG_VALUE_"+n+"="+s.value)
	}
	return append(env, passedVariables(outer)...)
}

// passedVariables returns the variables of the runner's environment that git needs: the search path of programs,
// proxies and certificates.
func passedVariables(outer []string) []string {
	names := []string{
		"PATH",
		"HTTP_PROXY",
		"HTTPS_PROXY",
		"NO_PROXY",
		"http_proxy",
		"https_proxy",
		"no_proxy",
		"SSL_CERT_DIR",
	}
	var env []string
	for _, line := range outer {
		name, value, _ := strings.Cut(line, "=")
		if slices.Contains(names, name) {
			env = append(env, line)
		}
		if name == "SSL_CERT_FILE" {
			env = append(env, "GIT_SSL_CAINFO="+value)
		}
	}
	return env
}
