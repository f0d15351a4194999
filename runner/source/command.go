package source

import (
	"slices"
	"strconv"
	"strings"
)

// The commands, as values. Whatever comes from a repository or a payload stands behind
// --end-of-options or cannot begin with a dash, for it was checked to be a full hash or a
// full ref. A ref may legally be refs/heads/--upload-pack=x (CVE-2026-40938's kind).
// Source: https://git-scm.com/docs/gitcli

func initArgs(commit string) []string {
	format := "sha1"
	if len(commit) == 64 {
		format = "sha256"
	}
	return []string{"init", "--quiet", "--template=", "--initial-branch=slipway", "--object-format=" + format}
}

// remoteArgs names the repository, so that build hooks may git fetch --unshallow as they
// could at Docker Hub. The address holds no credential.
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

// fetchEverythingArgs takes every branch and tag whole, for servers that hand out nothing else.
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

// containsArgs succeeds when the commit is part of what was fetched by ref.
func containsArgs(commit string) []string {
	return []string{"merge-base", "--is-ancestor", "--end-of-options", commit, "refs/slipway/source"}
}

// checkoutArgs cannot use --end-of-options, which git checkout reads as a path before
// version 2.43; a full hash is no option.
func checkoutArgs(commit string) []string {
	return []string{"checkout", "--quiet", "--force", "--no-recurse-submodules", "--detach", commit, "--"}
}

// A setting is one line of git's configuration, handed over by the environment.
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

// environment returns all variables that git gets.
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
	return append(env, passed(outer)...)
}

// passed picks what git needs of the runner's own environment: where programs are, and how
// to reach the network here.
func passed(outer []string) []string {
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
