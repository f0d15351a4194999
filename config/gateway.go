// Package config defines the settings of the gateway: the environment variable, its default, its help
// text and its validation. The settings of the build step are rows in package runner/settings. The
// settings of the builder are flags of its command (package runner/sandbox/server), and each flag has
// an environment variable. A gateway that starts a builder passes it the gateway's own settings
// SLIPWAY_BUILDER_*.
package config

import (
	"time"

	"slipway/config/secret"
)

// Gateway is the gateway's configuration. Every field is one environment variable.
// `slipway gateway --help` prints the help tags.
type Gateway struct {
	Listen      string `env:"SLIPWAY_LISTEN" envDefault:":8080" help:"address to serve on"`
	URL         string `env:"SLIPWAY_URL" help:"public base URL of the pages, the webhooks and the links in statuses, for example https://slipway.example.com"`
	Data        string `env:"SLIPWAY_DATA" envDefault:"data" help:"directory of the database, keys, logs and the builder's state"`
	DataReserve string `env:"SLIPWAY_DATA_RESERVE" envDefault:"500MB" help:"free space that the disk of SLIPWAY_DATA keeps for the database: with less, no build starts, and pushes are still stored"`
	Key         string `env:"SLIPWAY_KEY_FILE" help:"file of the key that encrypts stored secrets; default: <data>/secret.key, created at the first start; with SLIPWAY_DATABASE, all gateways need the same key"`

	Database secret.Secret `env:"SLIPWAY_DATABASE,unset" help:"address of a PostgreSQL database that several gateways may share, for example postgres://user:password@host/name?sslmode=verify-full; default: SQLite in SLIPWAY_DATA"`

	LogLevel       string   `env:"SLIPWAY_LOG_LEVEL" envDefault:"info" help:"debug, info, warn or error"`
	TrustedProxies []string `env:"SLIPWAY_TRUSTED_PROXIES" help:"addresses (CIDR) of reverse proxies whose X-Forwarded-* headers are trusted"`

	MetricsToken  secret.Secret `env:"SLIPWAY_METRICS_TOKEN,unset" help:"bearer token for /metrics (16 characters or more); metrics are off without it and SLIPWAY_METRICS_LISTEN"`
	MetricsListen string        `env:"SLIPWAY_METRICS_LISTEN" help:"separate address for /metrics, for example 127.0.0.1:9090, in place of the public one; without a token everyone with access to the address can read the metrics"`

	ProviderName string        `env:"SLIPWAY_BITBUCKET_NAME" envDefault:"bitbucket-cloud" help:"name of the first source provider"`
	WebURL       string        `env:"SLIPWAY_BITBUCKET_URL" envDefault:"https://bitbucket.org" help:"origin of Bitbucket's pages, OAuth and git"`
	APIURL       string        `env:"SLIPWAY_BITBUCKET_API_URL" envDefault:"https://api.bitbucket.org" help:"origin of Bitbucket's REST API"`
	ClientID     string        `env:"SLIPWAY_BITBUCKET_CLIENT_ID" help:"key of Bitbucket's OAuth consumer; may also be set on the setup page"`
	ClientSecret secret.Secret `env:"SLIPWAY_BITBUCKET_CLIENT_SECRET,unset" help:"secret of Bitbucket's OAuth consumer"`

	Engine            string        `env:"SLIPWAY_ENGINE" envDefault:"embedded" help:"engine of automated builds without a choice of their own"`
	Concurrency       int           `env:"SLIPWAY_CONCURRENCY" envDefault:"2" help:"parallel builds on the embedded engine, of all gateways together"`
	PerBuild          int           `env:"SLIPWAY_CONCURRENCY_PER_BUILD" help:"parallel builds of one automated build; default: half of SLIPWAY_CONCURRENCY, rounded up"`
	PerWorkspace      int           `env:"SLIPWAY_CONCURRENCY_PER_WORKSPACE" help:"parallel builds of one workspace; default: SLIPWAY_CONCURRENCY less one, if automated builds of other workspaces use the engine"`
	BuildTimeout      time.Duration `env:"SLIPWAY_BUILD_TIMEOUT" envDefault:"4h" help:"maximum duration of one attempt of a build, from the claim of its runner"`
	QueueTimeout      time.Duration `env:"SLIPWAY_QUEUE_TIMEOUT" envDefault:"24h" help:"maximum time in which an agent of Drone or Woodpecker must take a build's pipeline"`
	PollInterval      time.Duration `env:"SLIPWAY_POLL_INTERVAL" envDefault:"5m" help:"time between two polls of a repository without a webhook; longer with more than 20 of them, within the API budget"`
	ReconcileInterval time.Duration `env:"SLIPWAY_RECONCILE_INTERVAL" envDefault:"30m" help:"time between two polls of a repository with a webhook, which find undelivered pushes and check the webhook; longer with more than 80 repositories"`
	Keep              time.Duration `env:"SLIPWAY_KEEP" envDefault:"2160h" help:"time for which deliveries, logs and builds are kept (2160h = 90 days); the newest ten builds of each automated build are always kept"`

	Builder        string        `env:"SLIPWAY_BUILDER" help:"address of a running builder (unix:///… or tcp://host:port); default: a builder is started when needed"`
	BuilderService string        `env:"SLIPWAY_BUILDER_SERVICE" help:"socket of a running builder service (slipway builder service), an absolute path; default: the gateway starts its own"`
	BuilderTLS     secret.Secret `env:"SLIPWAY_BUILDER_TLS,unset" help:"client certificate for a builder on another machine: the absolute path of a file of slipway builder keys, or its PEM"`
	BuilderNetwork string        `env:"SLIPWAY_BUILDER_NETWORK" envDefault:"auto" help:"network of RUN steps: auto (cni, else slirp4netns, else none), cni, slirp4netns, host, none"`
	BuilderIdle    time.Duration `env:"SLIPWAY_BUILDER_IDLE" envDefault:"10m" help:"time without work after which a builder stops"`
	BuilderCache   string        `env:"SLIPWAY_BUILDER_CACHE" envDefault:"20GB" help:"maximum size of the caches of all builders together"`
	BuildMemory    string        `env:"SLIPWAY_BUILD_MEMORY" help:"memory of one build, for example 4GB; default: three quarters of the machine's, divided by SLIPWAY_CONCURRENCY"`
	BuildProcesses int64         `env:"SLIPWAY_BUILD_PROCESSES" envDefault:"0" help:"processes and threads of one build; 0 = 4096, or fewer on a small machine"`
	BuildCPUs      float64       `env:"SLIPWAY_BUILD_CPUS" envDefault:"0" help:"processors of one build, for example 1.5; 0 = all, after the gateway"`
	BuildDisk      string        `env:"SLIPWAY_BUILD_DISK" help:"disk of one build, for example 10GB: its checkout and what its hooks write; default: half of the free space, divided by SLIPWAY_CONCURRENCY, at most 20GB"`
	BuilderDisk    string        `env:"SLIPWAY_BUILDER_DISK" help:"disk of one cache domain, for example 20GB: its cache and what its RUN, COPY and ADD write; another size deletes the caches; default: an eighth of the disk, at least 2GB and at most 20GB"`
	CacheDomain    string        `env:"SLIPWAY_CACHE_DOMAIN" envDefault:"automated-build" help:"builds that share a cache and a builder process: automated-build (each has its own) or workspace; pull requests have their own"`
	Frontends      []string      `env:"SLIPWAY_BUILDER_FRONTENDS" help:"further Dockerfile frontends (# syntax=) that builds may use: image names"`
	LocalRegistry  []string      `env:"SLIPWAY_BUILDER_LOCAL_REGISTRIES" help:"registries on this machine that builds may use, for example 127.0.0.1:5000 or registry.example.com:443; builds reach no other service of this machine"`
	Private        string        `env:"SLIPWAY_PRIVATE_NETWORKS" envDefault:"allow" help:"allow or refuse connections to private networks: of builds, of their hooks, and of the gateway for registries and LFS objects; a builder service or builder that you start has its own setting"`
	Allowed        []string      `env:"SLIPWAY_ALLOWED_NETWORKS" help:"addresses and networks that builds may reach although a rule refuses them, each with or without a TCP port, for example 10.1.2.3:5000,10.0.0.0/8,[fd12::1]:443; an address of this machine is only opened for the gateway"`
	Hooks          string        `env:"SLIPWAY_HOOKS" envDefault:"on" help:"on or off: whether build hooks run; with off, a build whose repository has hooks fails"`
	PushHooks      string        `env:"SLIPWAY_PUSH_HOOKS" envDefault:"off" help:"on or off: whether build hooks that push (pre_push, push, post_push, and build without push) get the registry's credential in a CI's step; hooks of the embedded engine push through a proxy without it; with on, everyone who can push to a repository can replace every image that the credential can push"`
	RunnerUser     string        `env:"SLIPWAY_RUNNER_USER" help:"uid:gid of embedded runners; default: 64000:64000 if the gateway runs as root"`

	Drone      Drone      `envPrefix:"SLIPWAY_DRONE_"`
	Woodpecker Woodpecker `envPrefix:"SLIPWAY_WOODPECKER_"`
}
