package settings_test

import (
	"slices"
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/runner/commitstatus"
	"slipway/runner/settings"
)

func TestStatusSettings(t *testing.T) {
	for _, c := range []struct {
		environ []string
		want    settings.Status
	}{
		{nil, settings.Status{}},
		{[]string{"PLUGIN_BITBUCKET_STATUS=off"}, settings.Status{Off: true}},
		{
			[]string{"PLUGIN_BITBUCKET_TOKEN=t-canary", "PLUGIN_BITBUCKET_URL=https://git.example.com/bitbucket", "PLUGIN_BITBUCKET_KEY=image"},
			settings.Status{Credential: commitstatus.Credential{Password: secret.New("t-canary")}, URL: "https://git.example.com/bitbucket", Key: "image"},
		},
		{
			[]string{"PLUGIN_BITBUCKET_USERNAME=ann@example.com", "PLUGIN_BITBUCKET_PASSWORD=p-canary"},
			settings.Status{Credential: commitstatus.Credential{Username: "ann@example.com", Password: secret.New("p-canary")}},
		},
		// A CI keeps secrets from pull requests, which must not fail for a status.
		{[]string{"PLUGIN_BITBUCKET_USERNAME=ann@example.com"}, settings.Status{Credential: commitstatus.Credential{Username: "ann@example.com"}}},
	} {
		e := plugin(append(c.environ, "DRONE_COMMIT_SHA=abc")...)
		p, err := settings.ReadPlugin(e)
		got := p.Status
		if err != nil {
			t.Errorf("%v: %v", c.environ, err)
		}
		checkSame(t, strings.Join(c.environ, " "), got, c.want)
		checkEqual(t, "commit", p.CI.Commit, "abc")
		for _, line := range c.environ {
			name, value, _ := strings.Cut(line, "=")
			if strings.HasSuffix(value, "canary") != slices.Contains(e.removed, name) {
				t.Errorf("removed variables: got %v, want %s in it only if it is a secret", e.removed, name)
			}
		}
		if !got.Credential.Password.IsZero() && !slices.ContainsFunc(p.Secrets(), got.Credential.Password.Equal) {
			t.Errorf("%v: secrets of the log: got no status password, want it", c.environ)
		}
	}
}

func TestStatusFaultsNameTheSetting(t *testing.T) {
	checkFaults(t, func(lines string) error {
		_, err := settings.ReadPlugin(plugin(strings.Fields(lines)...))
		return err
	}, map[string]string{
		"PLUGIN_BITBUCKET_STATUS=maybe":                                  `PLUGIN_BITBUCKET_STATUS is "maybe": use on or off`,
		"PLUGIN_BITBUCKET_TOKEN=canary PLUGIN_BITBUCKET_PASSWORD=canary": "PLUGIN_BITBUCKET_TOKEN and PLUGIN_BITBUCKET_PASSWORD are both set",
		"PLUGIN_BITBUCKET_PASSWORD=canary":                               "PLUGIN_BITBUCKET_PASSWORD is set without PLUGIN_BITBUCKET_USERNAME",
		"PLUGIN_BITBUCKET_URL=git.example.com":                           "PLUGIN_BITBUCKET_URL is not an http or https address",
		"PLUGIN_BITBUCKET_URL=https://ann:canary@git.example.com":        "PLUGIN_BITBUCKET_URL must have no user",
		"PLUGIN_BITBUCKET_KEY=" + strings.Repeat("k", 41):                "PLUGIN_BITBUCKET_KEY has 41 characters",
	})
}
