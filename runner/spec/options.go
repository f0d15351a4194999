package spec

import (
	"net/netip"

	"slipway/config/secret"
)

// BuildOptions are what a build may ask of its builder besides what every build needs. The
// zero value asks for nothing.
type BuildOptions struct {
	Secrets []BuildSecret // for RUN --mount=type=secret
	SSHKey  secret.Secret // private key for RUN --mount=type=ssh, without a passphrase
	Proxies []Proxy
	Hosts   []Host // that RUN knows besides those of its name servers
	Pull    bool   // ask the registry for the newest base image, whatever the builder has

	NoCacheStages []string // stages of the Dockerfile whose steps are run again

	CacheFrom []Cache // that steps may be taken from; one that is not there is no error
	CacheTo   []Cache

	Labels      map[string]string // of the image's configuration
	Annotations map[string]string // of its manifests; they need OCI's media types, as attestations and zstd do

	Compression Compression
	Provenance  string // attributes of the attestation, as mode=min; empty = none
	SBOM        string // the same; SBOMDefault = BuildKit's own

	OCI              bool // OCI's media types, whether or not something needs them
	ForceCompression bool // compress the layers of base images anew, too
	RewriteTimestamp bool // no file of a new layer is newer than the build argument SOURCE_DATE_EPOCH
	Archive          Archive
}

// An Archive is a file that the image is written to, besides. The zero value is none.
// https://docs.docker.com/build/exporters/oci-docker/
type Archive struct {
	Type  string   // one of ArchiveOCI, ArchiveDocker, ArchiveTar
	Path  string   // to be made, or written over
	Names []string // of the image in it: registry/name:tag
}

// The kinds of archives. ArchiveTar holds the files of the last stage and no image.
const (
	ArchiveOCI    = "oci"
	ArchiveDocker = "docker"
	ArchiveTar    = "tar"
)

// SBOMDefault asks for an attestation by the scanner that BuildKit would choose.
const SBOMDefault = "generator=docker/buildkit-syft-scanner:stable-1"

// A Compression is what layers are compressed by. The zero value is gzip at level 1, which
// takes half the time of gzip's own for a sixth more bytes.
type Compression struct {
	Type  string // gzip, zstd, uncompressed
	Level string // a number; empty = the type's own
}

// A BuildSecret is a value that RUN sees under its id while it runs, and that is in no layer.
// https://docs.docker.com/build/building/secrets/
type BuildSecret struct {
	ID    string
	Value secret.Secret
	File  string // which Value is yet to be read from: absolute, or from the workspace; else empty
}

// A Proxy is one of the variables that Docker knows without an ARG and keeps out of an
// image's history and of the cache's keys.
// https://docs.docker.com/build/building/variables/#pre-defined-build-arguments
type Proxy struct {
	Name  string
	Value secret.Secret // may hold a password
}

// A Host is a name with its address.
type Host struct {
	Name    string
	Address netip.Addr
}

// A Cache is where the results of steps are kept between builds, in BuildKit's words.
// https://docs.docker.com/build/cache/backends/
type Cache struct {
	Type  string // one of CacheRegistry, CacheInline, CacheLocal
	Attrs map[string]string
}

// The kinds of caches. An inline one is a few bytes in the image itself and holds the steps of
// its last stage; CacheRegistry has "ref", CacheLocal has "src" to be read and "dest" to be
// written, a directory beside the runner.
const (
	CacheRegistry = "registry"
	CacheInline   = "inline"
	CacheLocal    = "local"
)
