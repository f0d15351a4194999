package settings

import (
	"slices"

	"slipway/config/grammar"
	"slipway/runner/settings/table"
)

// The names of settings that other settings refer to.
const (
	repoName     = "PLUGIN_REPO"
	envFileName  = "PLUGIN_ENV_FILE"
	dryRunName   = "PLUGIN_DRY_RUN"
	debugName    = "PLUGIN_DEBUG"
	pushOnlyName = "PLUGIN_PUSH_ONLY"
	sourceName   = "PLUGIN_SOURCE_IMAGE"
)

// stepTable declares the settings of a step without a gateway, in the order of --help. The names are
// those of Drone's plugins/docker and Woodpecker's docker-buildx, if these have such a setting.
//
// To add a setting, add a row and use the field that it sets.
func stepTable() table.Table[stepReader] {
	return slices.Concat(
		imageTable(),
		table.Within(loginTable(), func(r *stepReader) *loginValues { return &r.login }),
		table.Within(tagTable(), func(r *stepReader) *tagValues { return &r.tags }),
		sourceTable(),
		buildTable(),
		runTable(),
		cacheTable(),
		labelTable(),
		outputTable(),
		table.Within(
			builderTable("tcp://host:9443, docker-container://NAME (by docker) or kube-pod://NAME (by kubectl)"),
			func(r *stepReader) *builderValues { return &r.builder },
		),
		table.Within(localBuilderTable(), func(r *stepReader) *localBuilderValues { return &r.local }),
		buildkitTable(),
		table.Within(stateTable(), func(r *stepReader) *State { return &r.State }),
		table.Within(statusTable(), func(r *stepReader) *statusValues { return &r.status }),
		fileTable(),
		logTable(),
		table.Within(copyTable(), func(r *stepReader) *Copy { return &r.Copy }),
		table.Within(signTable(), func(r *stepReader) *Sign { return &r.Sign }),
		table.Within(ecrTable(), func(r *stepReader) *ecrValues { return &r.ecr }),
		kanikoTable(),
		daemonTable(),
	)
}

// imageTable declares the settings of the image: its name, and whether to push it.
func imageTable() table.Table[stepReader] {
	return table.Table[stepReader]{
		{
			Name: repoName,
			Help: "image to build, without a tag, for example registry.example.com/acme/app, or several names of it: a list; " +
				"builds the checked-out workspace without a gateway",
			Required: repoRequired,
			Set:      (*stepReader).setImages,
		},
		{
			Name: dryRunName, Aliases: []string{"PLUGIN_NO_PUSH"}, Default: "false",
			Help: "true: build and do not push",
			Set:  table.Bool(func(r *stepReader) *bool { return &r.DryRun }),
		},
	}
}

// sourceTable declares the settings of the source.
func sourceTable() table.Table[stepReader] {
	return table.Table[stepReader]{
		{
			Name: "PLUGIN_DOCKERFILE", Default: "Dockerfile",
			Help: "path of the Dockerfile, from the workspace",
			Set:  table.Text(func(r *stepReader) *string { return &r.Dockerfile }),
		},
		{
			Name: "PLUGIN_CONTEXT", Default: ".",
			Help: "directory of the build context, from the workspace",
			Set:  table.Text(func(r *stepReader) *string { return &r.Context }),
		},
		{
			Name: "PLUGIN_TARGET", Unset: "the last stage",
			Help: "stage of the Dockerfile to build",
			Set:  table.Text(func(r *stepReader) *string { return &r.Target }),
		},
		{
			Name: envFileName, // addEnvFile reads the file before the table is read
			Help: "file of variables for the step, in lines NAME=value; from the workspace, or absolute",
		},
	}
}

// Files are the files that a step without a gateway writes for later steps. An empty path is not
// written. Relative paths start at the workspace.
type Files struct {
	Artifact, Metadata, Digest string
	NameDigest, NameTagDigest  string // lines of pushed names with the digest, without and with the tag
	RegistryType, RegistryURL  string // kind and URL of the registry in the artifact file
	Card                       string // path of the card that the CI requests: /dev/stdout, or a file
}

func fileTable() table.Table[stepReader] {
	return table.Table[stepReader]{
		{
			Name: artifactName,
			Help: "file for the pushed tags: JSON in the form of plugins/docker (docker/v1)",
			Set:  table.Text(func(r *stepReader) *string { return &r.Files.Artifact }),
		},
		{
			Name: registryTypeName, Default: "Docker", Needs: artifactName,
			Help: "kind of registry that the artifact file names: Docker, ECR, GCR, ACR, …",
			Set:  table.Text(func(r *stepReader) *string { return &r.Files.RegistryType }),
		},
		{
			Name: "PLUGIN_METADATA_FILE",
			Help: "file for the image's digest and names: JSON in the form of docker buildx --metadata-file",
			Set:  table.Text(func(r *stepReader) *string { return &r.Files.Metadata }),
		},
		{
			Name: "PLUGIN_DIGEST_FILE",
			Help: "file for only the image's digest: sha256:…",
			Set:  table.Text(func(r *stepReader) *string { return &r.Files.Digest }),
		},
		{
			Name: "DRONE_CARD_PATH", Unlisted: true,
			Set: table.Text(func(r *stepReader) *string { return &r.Files.Card }),
		},
	}
}

const (
	artifactName     = "PLUGIN_ARTIFACT_FILE"
	registryTypeName = "PLUGIN_REGISTRY_TYPE"
)

// dockerHubURL is Docker Hub in the artifact file of plugins/docker.
const dockerHubURL = "https://index.docker.io/v1/"

// applyFiles sets the registry in the artifact file.
func (r *stepReader) applyFiles() {
	r.Files.RegistryURL = r.login.registry
	if r.Files.RegistryURL == "" {
		r.Files.RegistryURL = grammar.ImageHost(r.Image())
	}
	if r.Files.RegistryURL == hubHost {
		r.Files.RegistryURL = dockerHubURL
	}
	if len(r.ECR.Repositories) > 0 && r.ECR.On && r.Origins[registryTypeName] == Default {
		r.Files.RegistryType = "ECR"
	}
}

// Log is the detail of the step's log.
type Log struct {
	Quiet bool // show the builder's lines only of a build that failed
	Debug bool // show every setting and its origin
}

func logTable() table.Table[stepReader] {
	return table.Table[stepReader]{
		{
			Name: "PLUGIN_QUIET", Default: "false",
			Help: "true: the log shows the builder's own lines only if the build fails",
			Set:  table.Bool(func(r *stepReader) *bool { return &r.Log.Quiet }),
		},
		{
			Name: debugName, Env: []string{"DOCKER_LAUNCH_DEBUG"}, Default: "false",
			Help: "true: the log shows every setting that has a value, and its origin",
			Set:  table.Bool(func(r *stepReader) *bool { return &r.Log.Debug }),
		},
	}
}

// daemonTable declares settings of plugins/docker and docker-buildx for the Docker daemon that these
// plugins start in the step. Slipway starts none. It accepts the settings so that existing pipelines
// work, and logs one line with the names of the set ones.
func daemonTable() table.Table[stepReader] {
	const noDaemon = "there is no Docker daemon (docs/migrate-step.md)"
	var rows table.Table[stepReader]
	for _, one := range []struct{ name, reason string }{
		{"PLUGIN_BIP", "there is no Docker daemon"},
		{"PLUGIN_BUILDKIT_DEBUG", "there is no buildkitd"},
		{"PLUGIN_BUILDKIT_DRIVEROPT", "there is no buildx driver"},
		{"PLUGIN_COMPRESS", "the context is not sent through Docker; for layers, use compression"},
		{"PLUGIN_DAEMON_OFF", "there is no Docker daemon; for a running builder, use the setting builder"},
		{"PLUGIN_DAEMON_RETRY_COUNT", "there is no Docker daemon"},
		{"PLUGIN_EXPERIMENTAL", "there is no Docker daemon"},
		{"PLUGIN_IPV6", "there is no Docker daemon"},
		{"PLUGIN_MTU", "there is no Docker daemon"},
		{"PLUGIN_PURGE", "the data of the step's own builder is removed with the step"},
		{"PLUGIN_SQUASH", "BuildKit makes a layer of each instruction; use COPY --from of a stage for few layers"},
		{"PLUGIN_STORAGE_DRIVER", "there is no Docker daemon"},
		{"PLUGIN_STORAGE_PATH", "there is no Docker daemon"},
	} {
		rows = append(rows, table.Row[stepReader]{
			Name: one.name, Help: "no effect: " + one.reason, NoEffect: noDaemon,
		})
	}
	return rows
}
