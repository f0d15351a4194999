package config

import "slipway/config/secret"

// PluginStatus configures the commit status that a step without a gateway reports to Bitbucket.
type PluginStatus struct {
	BitbucketStatus   string        `env:"PLUGIN_BITBUCKET_STATUS" envDefault:"on" help:"on or off: report the status of the commit to Bitbucket, if a credential for it is given"`
	BitbucketToken    secret.Secret `env:"PLUGIN_BITBUCKET_TOKEN" help:"Bitbucket access token of the repository, project or workspace; Data Center: HTTP access token. Reading the repository is enough; removed from the environment after reading"`
	BitbucketUsername string        `env:"PLUGIN_BITBUCKET_USERNAME" help:"in place of a token: the Atlassian account's e-mail address; Data Center: user name"`
	BitbucketPassword secret.Secret `env:"PLUGIN_BITBUCKET_PASSWORD" help:"API token with the scope read:repository:bitbucket; Data Center: HTTP access token or password; removed from the environment after reading"`
	BitbucketURL      string        `env:"PLUGIN_BITBUCKET_URL" help:"address of Data Center, as https://bitbucket.example.com, or of a proxy of Cloud's API; default: Cloud, or where the CI clones from"`
	BitbucketKey      string        `env:"PLUGIN_BITBUCKET_KEY" help:"key of the status, up to 40 characters; default: made of repository, image, Dockerfile, context, target and ref"`
}
