package woodpecker

import (
	"net/url"

	"slipway/plugin/engine/pipeline"
)

// Environments returns the settings for Woodpecker's programs; its agents need none. gateway is the
// URL at which the server reaches the gateway.
func (e *Engine) Environments(gateway string) []pipeline.Environment {
	return []pipeline.Environment{{Of: "the Woodpecker server", Settings: e.ServerSettings(gateway)}}
}

// ServerSettings returns the settings for the Woodpecker server. They contain no secret: the server
// signs requests with its own key, and the gateway fetches the public half from it.
// https://woodpecker-ci.org/docs/administration/configuration/server
func (e *Engine) ServerSettings(gateway string) []pipeline.Setting {
	optional := ""
	if e.client.extensions != (extensionURLs{}) {
		optional = "optional, only if our user is no administrator of " + e.o.Repository + ": "
	}
	want := extensionsAt(gateway)
	all := []pipeline.Setting{
		{
			Name:  "WOODPECKER_CONFIG_EXTENSION_ENDPOINT",
			Value: want.config,
			Why: optional + "requests the pipelines of the gateway's builds; other builds run their repository's " +
				".woodpecker.yaml as before",
		},
		{
			Name:  "WOODPECKER_SECRET_EXTENSION_ENDPOINT",
			Value: want.secret,
			Why:   optional + "requests the token of a build's runner from the gateway",
		},
		{
			Name:  "WOODPECKER_EXTENSIONS_ALLOWED_HOSTS",
			Value: allowedHosts(gateway),
			Why: "allowed hosts: the default, external, allows public hosts; a gateway in a " +
				"private network must be listed",
		},
	}
	if e.o.Step.Builder == "" {
		all = append(
			all,
			pipeline.Setting{
				Name:  "WOODPECKER_PLUGINS_PRIVILEGED",
				Value: e.o.Step.Image,
				Why:   "allows our step to start its own builder; add it to the existing images",
			},
		)
	}
	return all
}

// allowedHosts returns Woodpecker's default and the host of the gateway.
func allowedHosts(gateway string) string {
	const byDefault = "external"
	u, err := url.Parse(gateway)
	if err != nil || u.Hostname() == "" {
		return byDefault
	}
	return byDefault + "," + u.Hostname()
}
