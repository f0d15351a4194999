package config

import "slipway/config/secret"

// PluginECR configures the login to Amazon ECR and the ECR repository of a step without a gateway.
// The names are those of Woodpecker's docker-buildx.
type PluginECR struct {
	AWSAccessKeyID      string        `env:"PLUGIN_AWS_ACCESS_KEY_ID" help:"access key by which to log in where repo is ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME; default: AWS_ACCESS_KEY_ID"`
	AWSSecretAccessKey  secret.Secret `env:"PLUGIN_AWS_SECRET_ACCESS_KEY" help:"its secret; default: AWS_SECRET_ACCESS_KEY; removed from the environment after reading"`
	AWSRegion           string        `env:"PLUGIN_AWS_REGION" help:"region of the registry; default: the one in repo"`
	ECRCreateRepository string        `env:"PLUGIN_ECR_CREATE_REPOSITORY" envDefault:"false" help:"true: create the repository if it does not exist"`
	ECRLifecyclePolicy  string        `env:"PLUGIN_ECR_LIFECYCLE_POLICY" help:"file of the repository's lifecycle policy, absolute or from the workspace: JSON"`
	ECRRepositoryPolicy string        `env:"PLUGIN_ECR_REPOSITORY_POLICY" help:"file of the repository's access policy, absolute or from the workspace: JSON"`
	ECRScanOnPush       string        `env:"PLUGIN_ECR_SCAN_ON_PUSH" help:"true or false: whether the repository's images are scanned when they are pushed; default: as it is"`
}
