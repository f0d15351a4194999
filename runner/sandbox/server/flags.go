package server

import (
	"os"

	"github.com/urfave/cli/v3"

	"slipway/runner/registry"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/cgroup"
	"slipway/runner/sandbox/remote"
)

func env(name string) cli.ValueSourceChain { return cli.EnvVars(name) }

// listenFlags returns the flags for the address and its clients.
func listenFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name:    "address",
			Usage:   "address to serve on: unix:///path, or tcp://host:port with --tls",
			Value:   "unix:///run/slipway/builder.sock",
			Sources: env("SLIPWAY_BUILDER_ADDRESS"),
		},
		remote.TLSFlag("certificate for TCP and the authority of its clients: a file of `slipway builder keys`"),
		&cli.StringFlag{
			Name: "revoked",
			Usage: "file of revoked client certificates, one SHA-256 fingerprint a line; " +
				"read at each connection",
			Sources: env("SLIPWAY_BUILDER_REVOKED"),
		},
		&cli.IntFlag{
			Name:    "socket-group",
			Usage:   "gid that may use the socket in addition to the owner",
			Value:   os.Getegid(),
			Sources: env("SLIPWAY_BUILDER_SOCKET_GROUP"),
		},
		&cli.DurationFlag{
			Name:    "idle",
			Usage:   "stop after this time without a call; 0 = never; on TCP, stop the builder of a cache domain",
			Sources: env("SLIPWAY_BUILDER_IDLE"),
		},
	}
}

// buildFlags returns the flags for the cache and the steps of builds.
func buildFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name:    "state",
			Usage:   "directory of the cache, for one builder at a time; on TCP, of the caches of all domains",
			Value:   "/var/lib/slipway/builder",
			Sources: env("SLIPWAY_BUILDER_STATE"),
		},
		&cli.StringFlag{
			Name:    "cache-size",
			Usage:   "maximum size of the cache; on TCP, of all caches together",
			Value:   "20GB",
			Sources: env("SLIPWAY_BUILDER_CACHE"),
		},
		&cli.StringSliceFlag{
			Name: "frontend",
			Usage: "Dockerfile frontend image (# syntax=) to allow in addition to docker/dockerfile:1, " +
				"which is built in",
			Sources: env("SLIPWAY_BUILDER_FRONTENDS"),
		},
		&cli.StringFlag{
			Name:    "runtime",
			Usage:   "OCI runtime: runc (crun 1.8.1 does not work)",
			Value:   "runc",
			Sources: env("SLIPWAY_BUILDER_RUNTIME"),
		},
		&cli.IntFlag{
			Name:    "parallel",
			Usage:   "maximum number of concurrent build steps; 0 = twice the processors",
			Sources: env("SLIPWAY_BUILDER_PARALLEL"),
		},
	}
}

// layerFlags returns the flags that a supervisor gives to its builders.
func layerFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "layers", Usage: "directory of unpacked layers that builders share", Hidden: true},
		&cli.BoolFlag{Name: "write-layers", Usage: "add the layers of images to that directory", Hidden: true},
		&cli.StringFlag{Name: "disk", Usage: "file with a disk for the content of the cache", Hidden: true},
		&cli.Int64Flag{Name: "disk-limit", Usage: "without a disk, watched size of the state in bytes", Hidden: true},
		&cli.Int64Flag{Name: "disk-reserve", Usage: "without a disk, free bytes that builds leave", Hidden: true},
	}
}

// limitFlags returns the flags for the limits of RUN steps.
func limitFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{
			Name:    "limits",
			Usage:   "limit the memory, processes and processor time of RUN steps by cgroups, if they are writable",
			Value:   true,
			Sources: env("SLIPWAY_BUILDER_LIMITS"),
		},
		&cli.StringFlag{
			Name:    "build-memory",
			Usage:   "memory of one build, for example 4GB; default: three quarters of the machine's, divided by --builds",
			Sources: env(cgroup.MemorySetting),
		},
		&cli.Int64Flag{
			Name:    "build-processes",
			Usage:   "processes and threads of one build; 0 = 4096, or fewer on a small machine",
			Sources: env(cgroup.ProcessesSetting),
		},
		&cli.FloatFlag{
			Name:    "build-cpus",
			Usage:   "processors of one build, for example 1.5; 0 = all",
			Sources: env(cgroup.CPUsSetting),
		},
		&cli.IntFlag{
			Name:    "builds",
			Usage:   "number of concurrent builds on this machine, which share its memory",
			Value:   1,
			Sources: env("SLIPWAY_BUILDER_BUILDS"),
		},
		&cli.IntFlag{
			Name:    "own-builds",
			Usage:   "number of concurrent builds on this builder, if this machine has others; 0 = the value of --builds",
			Sources: env("SLIPWAY_BUILDER_OWN_BUILDS"),
		},
	}
}

// networkFlags returns the flags for registries and the network of RUN steps.
func networkFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name: "network",
			Usage: "network of RUN steps: auto (cni, else slirp4netns, else none), " +
				"step (auto, else the network of this container), cni, slirp4netns, none, host",
			Value:   sandbox.NetworkAuto,
			Sources: env("SLIPWAY_BUILDER_NETWORK"),
		},
		&cli.StringSliceFlag{Name: "dns", Usage: "name server of RUN steps", Sources: env("SLIPWAY_BUILDER_DNS")},
		&cli.StringSliceFlag{
			Name:    "dns-search",
			Usage:   "search domain of RUN steps",
			Sources: env("SLIPWAY_BUILDER_DNS_SEARCH"),
		},
		&cli.StringSliceFlag{
			Name:    "insecure-registry",
			Usage:   "registry host to read over plain HTTP, or HTTPS with any certificate",
			Sources: env("SLIPWAY_BUILDER_INSECURE_REGISTRIES"),
		},
		&cli.StringSliceFlag{
			Name: "local-registry",
			Usage: "registry on this machine that builds may use, for example 127.0.0.1:5000 or registry.example.com:443; " +
				"for builders of a builder service, and on TCP, whose builds reach no other service of this machine",
			Sources: env("SLIPWAY_BUILDER_LOCAL_REGISTRIES"),
		},
		&cli.StringSliceFlag{
			Name:    "mirror",
			Usage:   "mirror of Docker Hub, tried first: https://host, http://host or host; REGISTRY=https://host of another",
			Sources: env("SLIPWAY_BUILDER_MIRRORS"),
		},
		&cli.StringFlag{
			Name:    "certs",
			Usage:   "directory of registry certificates in Docker's layout, HOST:PORT/ca.crt",
			Value:   registry.CertsDir,
			Sources: env("SLIPWAY_BUILDER_CERTS"),
		},
	}
}
