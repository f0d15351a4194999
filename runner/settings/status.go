package settings

import (
	"errors"
	"fmt"
	"net/url"
	"unicode/utf8"

	"slipway/config"
	"slipway/config/secret"
	"slipway/runner/commitstatus"
)

const (
	bitbucketToken    = "PLUGIN_BITBUCKET_TOKEN"
	bitbucketPassword = "PLUGIN_BITBUCKET_PASSWORD"
	maxStatusKey      = 40 // characters, Cloud's limit
)

// Status is what a step without a gateway reports to Bitbucket, and to which.
type Status struct {
	Off        bool
	Credential commitstatus.Credential // none = nothing is reported
	URL        string                  // of Data Center, or before Cloud's API; empty = found out
	Key        string                  // empty = made
}

// readStatus does not mind half a credential: a CI keeps secrets from pull requests, and a
// status must not fail a build.
func (p *Plugin) readStatus(raw config.PluginStatus) error {
	on, err := onOff("PLUGIN_BITBUCKET_STATUS", raw.BitbucketStatus)
	p.Status = Status{Off: !on, URL: raw.BitbucketURL, Key: raw.BitbucketKey}
	switch {
	case !raw.BitbucketToken.IsZero() && !raw.BitbucketPassword.IsZero():
		err = errors.Join(
			err,
			errors.New("PLUGIN_BITBUCKET_TOKEN and PLUGIN_BITBUCKET_PASSWORD are both set: give one of them"),
		)
	case !raw.BitbucketToken.IsZero():
		p.Status.Credential.Password = raw.BitbucketToken
	case raw.BitbucketUsername != "":
		p.Status.Credential = commitstatus.Credential{Username: raw.BitbucketUsername, Password: raw.BitbucketPassword}
	case !raw.BitbucketPassword.IsZero():
		err = errors.Join(
			err,
			errors.New(
				"PLUGIN_BITBUCKET_USERNAME is not set, PLUGIN_BITBUCKET_PASSWORD is: give both, or PLUGIN_BITBUCKET_TOKEN alone",
			),
		)
	}
	if n := utf8.RuneCountInString(raw.BitbucketKey); n > maxStatusKey {
		err = errors.Join(
			err,
			fmt.Errorf("PLUGIN_BITBUCKET_KEY has %d characters: Bitbucket takes up to %d", n, maxStatusKey),
		)
	}
	return errors.Join(err, checkBitbucketURL(raw.BitbucketURL))
}

func checkBitbucketURL(value string) error {
	u, err := url.Parse(value)
	switch {
	case value == "":
		return nil
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return errors.New("PLUGIN_BITBUCKET_URL is no http or https address: give it as https://bitbucket.example.com")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("PLUGIN_BITBUCKET_URL must have no user, query or fragment")
	}
	return nil
}

func (s Status) secrets() []secret.Secret { return []secret.Secret{s.Credential.Password} }
