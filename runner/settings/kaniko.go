package settings

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"slipway/config/grammar"
	"slipway/config/secret"
	"slipway/runner/registry"
	"slipway/runner/settings/table"
)

// The settings of kaniko's plugins that have other names here, or none.
const (
	expandRepoName   = "PLUGIN_EXPAND_REPO"
	expandTagName    = "PLUGIN_EXPAND_TAG"
	enableCacheName  = "PLUGIN_ENABLE_CACHE"
	cacheRepoName    = "PLUGIN_CACHE_REPO"
	tarPathName      = "PLUGIN_TAR_PATH"
	sourceTarName    = "PLUGIN_SOURCE_TAR_PATH"
	jsonKeyName      = "PLUGIN_JSON_KEY"
	destinationsName = "PLUGIN_DESTINATIONS"
	extraOptsName    = "PLUGIN_EXTRA_OPTS"
	reproducibleName = "PLUGIN_REPRODUCIBLE"
)

// jsonKeyUser is the user name for the JSON key of a service account at Google's registries.
// Source: https://cloud.google.com/artifact-registry/docs/docker/authentication#json-key
const jsonKeyUser = "_json_key"

// kanikoValues are settings of kaniko's plugins from which other values derive.
type kanikoValues struct {
	expandTag              bool
	cache                  string // the setting that turns cache_repo on: enable_cache, or cache: true; empty = off
	cacheRepo              string // empty = the image's name with /cache
	subPath                string
	tar, sourceTar         string
	plain, plainPull       bool // the image's registry, and that of base images, may use plain HTTP or any certificate
	reproducible           bool
	authorities, clientKey []string // registry=path, and registry=certificate,key
}

// kanikoTable declares the settings of Drone's plugins/kaniko and Woodpecker's plugin-kaniko that are no
// settings of the other plugins. docs/migrate-kaniko.md lists all.
// Sources: https://github.com/drone/drone-kaniko, https://github.com/woodpecker-ci/plugin-kaniko
func kanikoTable() table.Table[stepReader] {
	return slices.Concat(
		kanikoImageTable(),
		kanikoBuildTable(),
		kanikoFileTable(),
		kanikoTLSTable(),
		kanikoUnusedTable(),
		kanikoRefusedTable(),
	)
}

func kanikoImageTable() table.Table[stepReader] {
	return table.Table[stepReader]{
		{
			Name: expandRepoName, Default: "false", // expandKaniko applies it before the table is read
			Help: "true: put registry before a repo and a cache_repo without it",
			Set:  table.Bool(func(*stepReader) *bool { return new(bool) }),
		},
		{
			Name: expandTagName, Default: "false",
			Help: "true: make tags of each version in tags (v1.2.3: 1, 1.2 and 1.2.3)",
			Set:  table.Bool(func(r *stepReader) *bool { return &r.kaniko.expandTag }),
		},
		{
			Name: destinationsName, // expandKaniko makes repo and tags of it before the table is read
			Help: "image names, each with a tag, in place of repo and tags: a list",
		},
		{
			Name: extraOptsName, Masked: true, // expandKaniko makes settings of it before the table is read
			Help: "options of kaniko's executor, for example --label=a=b --single-snapshot: each becomes a setting",
		},
		{
			Name: jsonKeyName, Secret: true,
			Help: "in place of username and password: JSON key of a service account, for Google's registries",
			Set:  table.Secret(func(r *stepReader) *secret.Secret { return &r.login.jsonKey }),
		},
	}
}

// kanikoBuildTable declares the build's context, cache and dates.
func kanikoBuildTable() table.Table[stepReader] {
	return table.Table[stepReader]{
		{
			Name:    enableCacheName,
			Default: "false",
			Help:    "true: use the cache of cache_repo",
			Set: setTrue(func(r *stepReader, name, _ string) error { // as cache: true sets it, too
				r.kaniko.cache = name
				return nil
			}),
		},
		{
			Name: cacheRepoName, Unset: "the first repo with /cache",
			Help: "repository of the cache of all stages, for enable_cache or cache: true",
			Set:  table.Text(func(r *stepReader) *string { return &r.kaniko.cacheRepo }),
		},
		{
			Name: "PLUGIN_CONTEXT_SUB_PATH",
			Help: "directory of the build context, from context",
			Set:  table.Text(func(r *stepReader) *string { return &r.kaniko.subPath }),
		},
		{
			Name:    reproducibleName,
			Default: "false",
			Help: "true: no file of a new layer is newer than the commit; " +
				"the same as output: type=image,rewrite-timestamp=true",
			Set: table.Bool(func(r *stepReader) *bool { return &r.kaniko.reproducible }),
		},
	}
}

// kanikoFileTable declares the files that kaniko reads and writes.
func kanikoFileTable() table.Table[stepReader] {
	return table.Table[stepReader]{
		{
			Name: tarPathName, Aliases: []string{"PLUGIN_DESTINATION_TAR_PATH"},
			Help: "file that receives the image in the form of docker save; the same as output: type=docker,dest=PATH",
			Set:  table.Text(func(r *stepReader) *string { return &r.kaniko.tar }),
		},
		{
			Name: sourceTarName, Needs: pushOnlyName,
			Help: "for push_only: file with the image; the same as source_image",
			Set:  table.Text(func(r *stepReader) *string { return &r.kaniko.sourceTar }),
		},
		{
			Name: "PLUGIN_IMAGE_NAME_WITH_DIGEST_FILE",
			Help: "file for lines NAME@sha256:…, one for each pushed tag",
			Set:  table.Text(func(r *stepReader) *string { return &r.Files.NameDigest }),
		},
		{
			Name: "PLUGIN_IMAGE_NAME_TAG_WITH_DIGEST_FILE",
			Help: "file for lines NAME:TAG@sha256:…, one for each pushed tag",
			Set:  table.Text(func(r *stepReader) *string { return &r.Files.NameTagDigest }),
		},
	}
}

// kanikoTLSTable declares the connections to registries. Here, insecure allows plain HTTP and a certificate
// that no authority has signed, so the settings of both are one.
func kanikoTLSTable() table.Table[stepReader] {
	plain := table.Bool(func(r *stepReader) *bool { return &r.kaniko.plain })
	pull := table.Bool(func(r *stepReader) *bool { return &r.kaniko.plainPull })
	return table.Table[stepReader]{
		{
			Name: "PLUGIN_SKIP_TLS_VERIFY", Help: "true: the same as insecure: true",
			Set: setTrue(plain),
		},
		{
			Name: "PLUGIN_SKIP_TLS_VERIFY_PULL",
			Help: "true: the same as insecure: true, for base_image_registry; without it, for the image's registry",
			Set:  setTrue(pull),
		},
		{
			Name: "PLUGIN_INSECURE_PULL", Help: "the same as skip_tls_verify_pull",
			Set: setTrue(pull),
		},
		{
			Name: "PLUGIN_INSECURE_REGISTRY", Help: "registries that use plain HTTP: a list, in addition to insecure",
			Set: (*stepReader).addInsecureHosts,
		},
		{
			Name: "PLUGIN_SKIP_TLS_VERIFY_REGISTRY",
			Help: "the same as insecure_registry, or true: the same as insecure: true",
			Set: func(r *stepReader, name, text string) error {
				if _, err := table.ParseBool(name, text); err == nil {
					return setTrue(plain)(r, name, text)
				}
				return r.addInsecureHosts(name, text)
			},
		},
		{
			Name: "PLUGIN_REGISTRY_CERTIFICATE",
			Help: "certificate authorities: a list of registry=path; the path is absolute, or from the workspace",
			Set:  table.List(func(r *stepReader) *[]string { return &r.kaniko.authorities }),
		},
		{
			Name: "PLUGIN_REGISTRY_CLIENT_CERT",
			Help: "client certificates: a list of registry=certificate,key; the paths are absolute, or from the workspace",
			Set:  table.List(func(r *stepReader) *[]string { return &r.kaniko.clientKey }),
		},
	}
}

// setTrue returns a setter that never sets the field to false, because several settings share it.
func setTrue(set table.Setter[stepReader]) table.Setter[stepReader] {
	return func(r *stepReader, name, text string) error {
		on, err := table.ParseBool(name, text)
		if err != nil || !on {
			return err
		}
		return set(r, name, text)
	}
}

// addInsecureHosts adds registries that use plain HTTP.
func (r *stepReader) addInsecureHosts(name, text string) error {
	hosts, err := table.ParseList(name, text)
	for _, one := range hosts {
		host, hostErr := parseHost(name, one)
		err = errors.Join(err, hostErr)
		r.insecureHosts = append(r.insecureHosts, grammar.ImageHost(host))
	}
	return err
}

// applyKaniko sets the values that derive from kaniko's settings. It runs before the outputs, the logins and
// the copy are validated.
func (r *stepReader) applyKaniko() error {
	k := r.kaniko
	if k.subPath != "" {
		r.Context = path.Join(r.Context, k.subPath)
	}
	if k.plain && (r.login.insecure == "" || strings.EqualFold(r.login.insecure, "false")) {
		r.login.insecure = "true"
	}
	if k.plainPull {
		r.addPlainPull()
	}
	return errors.Join(r.addCacheRepo(), r.addTar(), r.addSourceTar(), r.addCertificates())
}

// addPlainPull marks the registry of base images, else the image's.
func (r *stepReader) addPlainPull() {
	host, err := registry.ParseHost(r.login.baseRegistry)
	if err != nil {
		host = r.Image()
	}
	r.insecureHosts = append(r.insecureHosts, grammar.ImageHost(host))
}

// addCacheRepo adds kaniko's cache. Without a registry in its name it is in the image's registry.
func (r *stepReader) addCacheRepo() error {
	repo := r.kaniko.cacheRepo
	host, setting := grammar.ImageHost(r.Image()), cacheRepoName
	switch {
	case r.kaniko.cache == "" && repo != "":
		r.warn("%s is not used: neither %s nor PLUGIN_CACHE is true", cacheRepoName, enableCacheName)
		return nil
	case r.kaniko.cache == "":
		return nil
	case repo == "" && host == hubHost:
		return fmt.Errorf("%s is not set, and Docker Hub has no repository %s/cache: set it, for example to %s-cache",
			cacheRepoName, strings.TrimPrefix(r.Image(), hubHost+"/"), strings.TrimPrefix(r.Image(), hubHost+"/"))
	case repo == "":
		repo = r.Image() + "/cache"
		setting = cacheRepoName + " (for " + r.kaniko.cache + ")"
	case !hasHost(repo):
		repo = host + "/" + repo
	}
	ref, err := registry.ParseReference(repo)
	if err != nil {
		return fmt.Errorf("%s: %w", cacheRepoName, err)
	}
	r.addRegistryCache(setting, ref)
	return nil
}

// hasHost reports whether the name of an image begins with a registry.
func hasHost(name string) bool {
	first, _, found := strings.Cut(name, "/")
	return found && (strings.ContainsAny(first, ".:") || first == "localhost")
}

// addTar makes an output of tar_path.
func (r *stepReader) addTar() error {
	switch {
	case r.kaniko.tar == "":
		return r.addReproducible()
	case r.output != "":
		return fmt.Errorf("%s and %s are both set: set only one of them", tarPathName, outputName)
	case strings.ContainsAny(r.kaniko.tar, `",`):
		return fmt.Errorf("%s has a comma or a quotation mark: choose another name", tarPathName)
	}
	r.output = "type=docker,dest=" + r.kaniko.tar
	r.Origins[outputName] = r.Origins[tarPathName]
	return r.addReproducible()
}

func (r *stepReader) addReproducible() error {
	switch {
	case !r.kaniko.reproducible:
	case r.output == "":
		r.output = "type=image,rewrite-timestamp=true"
	case !strings.Contains(r.output, "rewrite-timestamp"):
		r.output += ",rewrite-timestamp=true"
	}
	return nil
}

// addSourceTar makes the source of a copy of source_tar_path. Needs of its row drops it without push_only.
func (r *stepReader) addSourceTar() error {
	switch {
	case r.kaniko.sourceTar == "":
		return nil
	case r.Copy.Source() != "":
		return fmt.Errorf("%s and %s are both set: set only one of them", sourceTarName, sourceName)
	}
	r.Copy.File = path.Clean(r.kaniko.sourceTar)
	return nil
}

// addCertificates adds the certificates of registry_certificate and registry_client_cert. In the latter, a
// comma separates the certificate and its key, and also the entries.
func (r *stepReader) addCertificates() error {
	const caName, clientName = "PLUGIN_REGISTRY_CERTIFICATE", "PLUGIN_REGISTRY_CLIENT_CERT"
	add := func(name, host string, c Certificate) error {
		normal, err := parseHost(name, host)
		c.Host, c.Origin = normal, name
		r.Certificates = append(r.Certificates, c)
		return err
	}
	var errs []error
	for _, entry := range r.kaniko.authorities {
		host, file, found := strings.Cut(entry, "=")
		if !found || file == "" {
			return fmt.Errorf("%s has %q: set registry=path", caName, entry)
		}
		errs = append(errs, add(caName, host, Certificate{Authorities: []string{file}}))
	}
	fields := strings.Split(strings.Join(r.kaniko.clientKey, ","), ",")
	for i := 0; i+1 < len(fields); i += 2 {
		host, file, found := strings.Cut(fields[i], "=")
		if !found || file == "" || strings.Contains(fields[i+1], "=") {
			return fmt.Errorf("%s: set registry=certificate,key", clientName)
		}
		errs = append(errs, add(clientName, host, Certificate{Pairs: []KeyPair{{Certificate: file, Key: fields[i+1]}}}))
	}
	if len(r.kaniko.clientKey) > 0 && len(fields)%2 != 0 {
		return fmt.Errorf("%s: set registry=certificate,key", clientName)
	}
	return errors.Join(errs...)
}
