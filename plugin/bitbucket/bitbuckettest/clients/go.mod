module slipway/plugin/bitbucket/bitbuckettest/clients

go 1.26.8

require (
	github.com/drone/go-scm v1.42.0
	github.com/google/go-cmp v0.7.0
	github.com/ktrysmt/go-bitbucket v0.10.0
)

require (
	github.com/mitchellh/mapstructure v1.5.0 // indirect
	golang.org/x/net v0.55.0 // indirect
	golang.org/x/oauth2 v0.36.0 // indirect
)
