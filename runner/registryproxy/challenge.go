package registryproxy

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// A challenge is the authentication that a registry requires. The zero challenge is a registry
// that needs no credential.
// Source: https://distribution.github.io/distribution/spec/auth/token/
type challenge struct {
	basic   bool
	realm   *url.URL // the token server; nil unless Bearer
	service string
}

// parseChallenge reads the WWW-Authenticate headers of a 401. The realm gets the credential, so it
// must be an https address, unless the registry itself is insecure.
func parseChallenge(headers []string, insecure bool) (challenge, error) {
	basic := false
	for _, header := range headers {
		scheme, rest, _ := strings.Cut(strings.TrimSpace(header), " ")
		switch {
		case strings.EqualFold(scheme, "Basic"):
			basic = true
		case strings.EqualFold(scheme, "Bearer"):
			parameters := parseParameters(rest)
			realm, err := parseRealm(parameters["realm"], insecure)
			if err != nil {
				return challenge{}, err
			}
			return challenge{realm: realm, service: parameters["service"]}, nil
		}
	}
	if !basic {
		return challenge{}, errors.New("the registry supports neither Bearer nor Basic authentication")
	}
	return challenge{basic: true}, nil
}

func parseRealm(text string, insecure bool) (*url.URL, error) {
	realm, err := url.Parse(text)
	if err != nil || realm.Host == "" || realm.User != nil || realm.Opaque != "" {
		return nil, errors.New("the registry's token server has an invalid address")
	}
	if realm.Scheme != "https" && (realm.Scheme != "http" || !insecure) {
		return nil, fmt.Errorf("the registry's token server %s does not use https", realm.Host)
	}
	realm.Fragment = ""
	return realm, nil
}

// parseParameters reads `name="value", name=value`. Names are returned in lower case; of two equal
// names the first counts.
func parseParameters(text string) map[string]string {
	parameters := map[string]string{}
	for text = strings.TrimLeft(text, " ,\t"); text != ""; text = strings.TrimLeft(text, " ,\t") {
		name, rest, ok := strings.Cut(text, "=")
		if !ok {
			break
		}
		value := ""
		value, text = parseValue(strings.TrimLeft(rest, " \t"))
		name = strings.ToLower(strings.TrimSpace(name))
		if _, known := parameters[name]; !known {
			parameters[name] = value
		}
	}
	return parameters
}

// parseValue reads a token or a quoted string of RFC 9110 section 5.6, and returns the rest of the text.
func parseValue(text string) (value, rest string) {
	if !strings.HasPrefix(text, `"`) {
		if end := strings.IndexAny(text, ", \t"); end >= 0 {
			return text[:end], text[end:]
		}
		return text, ""
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '"':
			return b.String(), text[i+1:]
		case '\\':
			if i++; i == len(text) {
				return b.String(), ""
			}
		}
		b.WriteByte(text[i])
	}
	return b.String(), ""
}
