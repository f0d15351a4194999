package bitbuckettest

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxURL is the maximum length of the URL of a webhook or a build status, in characters.
const maxURL = 450

// checkHookURL checks a webhook's URL against Bitbucket's rules: it must be reachable from the internet.
// If allowPrivate is true, private addresses and names are valid.
func checkHookURL(text string, allowPrivate bool) error {
	host, err := checkURL(text)
	if err != nil {
		return err
	}
	if allowPrivate {
		return nil
	}
	if address, err := netip.ParseAddr(host); err == nil {
		if !address.IsGlobalUnicast() || address.IsPrivate() {
			return errInternalURL
		}
		return nil
	}
	isInternal := func(suffix string) bool { return strings.HasSuffix(host, suffix) }
	if !isQualified(host) || slices.ContainsFunc([]string{".localhost", ".local", ".internal"}, isInternal) {
		return errInternalURL
	}
	return nil
}

var (
	errURL         = invalid("url", "Enter a valid URL.")
	errInternalURL = invalid("url", "The URL cannot be an internal, non-routed address.")
)

// checkStatusURL checks a build status's URL against Bitbucket's rules. It must be absolute, and its host
// must be an IP address or a fully qualified name. So localhost and http://jenkins:8080/ are invalid.
func checkStatusURL(text string) error {
	host, err := checkURL(text)
	if err != nil {
		return err
	}
	if _, err := netip.ParseAddr(host); err != nil && !isQualified(host) {
		return errURL
	}
	return nil
}

func checkURL(text string) (host string, err error) {
	u, parseErr := url.Parse(text)
	if parseErr != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return "", errURL
	}
	if utf8.RuneCountInString(text) > maxURL {
		return "", tooLong("url", maxURL, text)
	}
	return strings.ToLower(u.Hostname()), nil
}

// isQualified reports whether a host name has a domain.
func isQualified(host string) bool {
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	if len(labels) < 2 {
		return false
	}
	for _, label := range labels {
		if label == "" {
			return false
		}
	}
	return true
}
