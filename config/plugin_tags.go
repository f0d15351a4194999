package config

// Tags holds the settings for the tags that the build step pushes. Some settings have two names
// because the plugins that Slipway replaces use different names.
type Tags struct {
	Tags          string `env:"PLUGIN_TAGS" envDefault:"latest" help:"tags to push: a comma list, or a JSON list"`
	Tag           string `env:"PLUGIN_TAG" help:"the same as tags"`
	TagsFile      string `env:"PLUGIN_TAGS_FILE" help:"file of tags in the workspace, read instead of tags: lines or a comma list; without both, a file .tags is read, if there is one"`
	TagFile       string `env:"PLUGIN_TAG_FILE" help:"the same as tags_file"`
	AutoTag       string `env:"PLUGIN_AUTO_TAG" envDefault:"false" help:"true: make tags of the Git tag (v1.2.3: 1, 1.2 and 1.2.3) or of the default branch (default_tag)"`
	DefaultTags   string `env:"PLUGIN_DEFAULT_TAGS" help:"the same as auto_tag"`
	AutoTagMode   string `env:"PLUGIN_AUTO_TAG_MODE" envDefault:"slipway" help:"whose rules apply: docker (plugins/docker), buildx (Woodpecker's docker-buildx), or slipway, which moves latest from the default branch alone, unless a release's tags name it"`
	AutoTagSuffix string `env:"PLUGIN_AUTO_TAG_SUFFIX" help:"suffix of the tags that are made, as linux-amd64: 1.2-linux-amd64; alone in place of latest"`
	DefaultSuffix string `env:"PLUGIN_DEFAULT_SUFFIX" help:"the same as auto_tag_suffix"`
	DefaultTag    string `env:"PLUGIN_DEFAULT_TAG" envDefault:"latest" help:"tag that auto_tag makes of the default branch"`
}
