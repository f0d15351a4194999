package bitbuckettest

import (
	"net/netip"
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxURL is the length of the URL of a webhook or a build status, in characters.
const maxURL = 450

// checkHookURL holds a webhook's URL to Bitbucket's rules: it must be reachable from the
// public internet. With private true, addresses and names of inside pass.
func checkHookURL(text string, private bool) error {
	host, err := checkURL(text)
	if err != nil {
		return err
	}
	if private {
		return nil
	}
	if address, err := netip.ParseAddr(host); err == nil {
		if !address.IsGlobalUnicast() || address.IsPrivate() {
			return errInternalURL
		}
		return nil
	}
	if !qualified(host) || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".local") ||
		strings.HasSuffix(host, ".internal") {
		return errInternalURL
	}
	return nil
}

var (
	errURL         = invalid("url", "Enter a valid URL.")
	errInternalURL = invalid("url", "The URL cannot be an internal, non-routed address.")
)

// checkStatusURL holds a build status's URL to Bitbucket's rule: absolute, and its host an
// address or a fully qualified name, so neither localhost nor http://jenkins:8080/.
func checkStatusURL(text string) error {
	host, err := checkURL(text)
	if err != nil {
		return err
	}
	if _, err := netip.ParseAddr(host); err != nil && !qualified(host) {
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

// qualified tells whether a host name has a domain.
func qualified(host string) bool {
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
