package spec

import (
	"net/netip"

	"slipway/config/secret"
)

// BuildOptions are the optional parts of a build request. The zero value requests none.
type BuildOptions struct {
	Secrets []BuildSecret // secrets for RUN --mount=type=secret
	SSHKey  secret.Secret // private key for RUN --mount=type=ssh, without a passphrase
	SSH     []SSHAgent    // further keys for RUN --mount=type=ssh
	Proxies []Proxy
	Hosts   []Host // additional host names for RUN
	Pull    bool   // ask the registry for the newest base image, whatever the builder has

	NoCacheStages []string // stages of the Dockerfile whose steps run again

	Contexts []NamedContext // build contexts besides the main one
	Allow    []string       // rights of RUN steps: one of AllowInsecure, AllowHostNetwork, or AllowDevice
	Ulimits  []string       // limits of RUN steps: nofile=1024:4096, a soft and a hard limit
	ShmSize  int64          // size of /dev/shm of RUN steps in bytes; 0 = the builder's

	CacheFrom []Cache // caches to read; a missing one is no error
	CacheTo   []Cache

	Labels      map[string]string // labels in the image's configuration
	Annotations map[string]string // annotations of its manifests; they need OCI's media types

	Compression Compression
	Provenance  string // attributes of the attestation, for example mode=min; empty = none
	SBOM        string // the same; SBOMDefault = BuildKit's own

	OCI              bool // use OCI's media types even if nothing needs them
	ForceCompression bool // also compress the layers of base images again
	RewriteTimestamp bool // no file of a new layer is newer than the build argument SOURCE_DATE_EPOCH
	Archive          Archive
}

// An Archive is a file that additionally receives the image. The zero value means no file.
// https://docs.docker.com/build/exporters/oci-docker/
type Archive struct {
	Type  string   // one of ArchiveOCI, ArchiveDocker, ArchiveTar
	Path  string   // created or overwritten
	Names []string // names of the image in it: registry/name:tag
}

// The kinds of archives. ArchiveTar contains the files of the last stage and no image.
const (
	ArchiveOCI    = "oci"
	ArchiveDocker = "docker"
	ArchiveTar    = "tar"
)

// SBOMDefault requests an attestation by BuildKit's default scanner.
const SBOMDefault = "generator=docker/buildkit-syft-scanner:stable-1"

// A Compression is the compression of layers. The zero value is gzip at level 1, which takes half the
// time of gzip's default level for a sixth more bytes.
type Compression struct {
	Type  string // gzip, zstd, uncompressed
	Level string // a number; empty = the type's default
}

// A BuildSecret is a value that a RUN step can read under its id, and that no layer contains.
// https://docs.docker.com/build/building/secrets/
type BuildSecret struct {
	ID    string
	Value secret.Secret
	File  string // file that has the value, absolute or from the workspace; empty = Value is set
}

// An SSHAgent offers keys under an id, for RUN --mount=type=ssh,id=ID. The id "default" needs no id there.
// https://docs.docker.com/reference/cli/docker/buildx/build/#ssh
type SSHAgent struct {
	ID   string
	Path string // private key without a passphrase, or socket of an agent; absolute, or from the workspace
}

// A Proxy is one of Docker's predefined build arguments. It needs no ARG, and is neither in the image's
// history nor in the keys of the cache.
// https://docs.docker.com/build/building/variables/#pre-defined-build-arguments
type Proxy struct {
	Name  string
	Value secret.Secret // may hold a password
}

// A NamedContext is a build context with a name, for FROM name, COPY --from=name and RUN --mount=from=name.
// Either Source or Dir is set.
// https://docs.docker.com/reference/cli/docker/buildx/build/#build-context
type NamedContext struct {
	Name   string // also the name of an image that the context replaces, for example alpine:3.20
	Source string // image or address: docker-image://alpine, https://git.example.com/acme/lib.git#v1
	Dir    string // directory, absolute or from the workspace
}

// The rights that BuildOptions.Allow may hold. A device may follow AllowDevice: device=vendor.com/gpu=0.
// https://docs.docker.com/reference/cli/docker/buildx/build/#allow
const (
	AllowInsecure    = "security.insecure" // RUN --security=insecure
	AllowHostNetwork = "network.host"      // RUN --network=host
	AllowDevice      = "device"            // RUN --device
)

// A Host is a name with its address.
type Host struct {
	Name    string
	Address netip.Addr
}

// A Cache is a place that stores results of steps between builds, with BuildKit's attributes.
// https://docs.docker.com/build/cache/backends/
type Cache struct {
	Type  string // one of CacheRegistry, CacheInline, CacheLocal
	Attrs map[string]string
}

// The kinds of caches. An inline cache is a few bytes in the image itself, for the steps of its last
// stage. CacheRegistry has the attribute "ref". CacheLocal is a directory on the runner's machine, with
// "src" to read and "dest" to write.
const (
	CacheRegistry = "registry"
	CacheInline   = "inline"
	CacheLocal    = "local"
)
