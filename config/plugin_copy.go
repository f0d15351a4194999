package config

// PluginCopy configures a step that pushes an existing image instead of building one. The names are
// those of Drone's plugins/docker.
type PluginCopy struct {
	PushOnly    string `env:"PLUGIN_PUSH_ONLY" envDefault:"false" help:"true: build nothing, and push the image that is source_image under the tags"`
	SourceImage string `env:"PLUGIN_SOURCE_IMAGE" help:"for push_only: an image in a registry, as registry.example.com/acme/app:1.2 or …@sha256:…; or a file, whose path begins with / or ./: an OCI layout, or the output of docker save; default: repo at the first of the tags"`
}
