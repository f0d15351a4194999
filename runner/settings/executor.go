package settings

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"slipway/config/grammar"
	"slipway/runner/registry"
	"slipway/runner/settings/table"
)

// expandKaniko adds the settings that kaniko's settings extra_opts, destinations and expand_repo stand for. It
// returns notes for the log.
func expandKaniko(given map[string]string) (notes []string, err error) {
	if opts := given[extraOptsName]; opts != "" {
		if err := expandOptions(opts, given); err != nil {
			return nil, err
		}
	}
	if text := given[destinationsName]; text != "" {
		if notes, err = expandDestinations(text, given); err != nil {
			return nil, err
		}
	}
	expandRepo(given)
	return notes, nil
}

// executorOption is an option of kaniko's executor.
// Source: https://github.com/GoogleContainerTools/kaniko/blob/main/cmd/executor/cmd/root.go
type executorOption struct {
	setting string
	kind    optionKind
}

type optionKind int

const (
	optionText optionKind = iota
	optionBool            // may be without a value, which means true
	optionList            // may be repeated
)

// executorOptions returns the options of kaniko's executor by their names, each with its setting.
func executorOptions() map[string]executorOption {
	all := map[string]executorOption{
		"build-arg":         {argsName, optionList},
		"label":             {"PLUGIN_LABEL", optionList},
		"destination":       {destinationsName, optionList},
		"d":                 {destinationsName, optionList},
		"registry-mirror":   {mirrorName, optionList},
		"registry-map":      {mirrorName, optionList},
		"ignore-path":       {"PLUGIN_IGNORE_PATHS", optionList},
		"c":                 {"PLUGIN_CONTEXT", optionText},
		"f":                 {"PLUGIN_DOCKERFILE", optionText},
		"custom-platform":   {platformName, optionText},
		"customPlatform":    {platformName, optionText},
		"tarPath":           {tarPathName, optionText},
		"v":                 {"PLUGIN_VERBOSITY", optionText},
		"snapshotMode":      {"PLUGIN_SNAPSHOT_MODE", optionText},
		"cache":             {enableCacheName, optionBool},
		"no-push":           {"PLUGIN_NO_PUSH", optionBool},
		"whitelist-var-run": {"PLUGIN_IGNORE_VAR_RUN", optionBool},
	}
	same := func(kind optionKind, names ...string) {
		for _, name := range names {
			all[name] = executorOption{table.Prefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_")), kind}
		}
	}
	same(optionText, "dockerfile", "context", "context-sub-path", "target", "tar-path", "digest-file",
		"image-name-with-digest-file", "image-name-tag-with-digest-file", "cache-repo", "cache-dir", "cache-ttl",
		"snapshot-mode", "verbosity", "log-format", "push-retry", "image-fs-extract-retry", "image-download-retry",
		"oci-layout-path", "compression", "compression-level")
	same(optionList, "insecure-registry", "skip-tls-verify-registry", "registry-certificate", "registry-client-cert")
	same(
		optionBool,
		"insecure",
		"insecure-pull",
		"skip-tls-verify",
		"skip-tls-verify-pull",
		"single-snapshot",
		"reproducible",
		"cleanup",
		"compressed-caching",
		"ignore-var-run",
		"skip-unused-stages",
		"use-new-run",
		"cache-copy-layers",
		"cache-run-layers",
		"skip-default-registry-fallback",
		"skip-push-permission-check",
		"force",
		"log-timestamp",
	)
	return all
}

// expandOptions adds the settings of kaniko's options. As in the plugin, spaces separate the options, and
// quotation marks mean nothing.
func expandOptions(text string, given map[string]string) error {
	values, err := parseOptions(strings.Fields(text))
	if err != nil {
		return err
	}
	joinCompression(values)
	for _, setting := range slices.Sorted(maps.Keys(values)) {
		value := values[setting]
		old := strings.TrimSpace(given[setting])
		switch {
		case old == "" || old == value[len(value)-1]:
		case isListSetting(setting) && !strings.HasPrefix(old, "{"):
			before, err := table.ParseList(setting, old)
			if err != nil {
				return err
			}
			value = append(before, value...)
		default:
			return fmt.Errorf(
				"%s and an option in %s set the same, with different values: remove one",
				setting,
				extraOptsName,
			)
		}
		given[setting] = value[len(value)-1]
		if isListSetting(setting) {
			given[setting] = jsonList(value)
		}
	}
	return nil
}

// parseOptions returns the values of the options by setting.
func parseOptions(words []string) (map[string][]string, error) {
	known, values := executorOptions(), map[string][]string{}
	for i := 0; i < len(words); i++ {
		name, value, hasValue := strings.Cut(strings.TrimLeft(words[i], "-"), "=")
		option, found := known[name]
		switch {
		case !strings.HasPrefix(words[i], "-"): // it may be a part of a secret
			return nil, fmt.Errorf("%s: word %d is no option: write each option as --name=value, without spaces "+
				"(docs/migrate-kaniko.md)", extraOptsName, i+1)
		case !found:
			return nil, fmt.Errorf("%s has %s, which is no option of kaniko that this step supports: remove it "+
				"(docs/migrate-kaniko.md)", extraOptsName, firstPart(words[i]))
		case !hasValue && option.kind == optionBool:
			value = "true"
		case !hasValue && i+1 == len(words):
			return nil, fmt.Errorf("%s: the option --%s has no value", extraOptsName, name)
		case !hasValue:
			i++
			value = words[i]
		}
		all := []string{value}
		switch name {
		case "registry-map":
			all = strings.Split(value, ";")
		case "context", "c":
			all[0] = strings.TrimPrefix(value, "dir://")
		}
		values[option.setting] = append(values[option.setting], all...)
	}
	return values, nil
}

// firstPart returns an option without its value, which may be a secret.
func firstPart(word string) string {
	name, _, _ := strings.Cut(word, "=")
	return name
}

// joinCompression makes one value of compression and compression-level.
func joinCompression(values map[string][]string) {
	const levelName = "PLUGIN_COMPRESSION_LEVEL"
	level := values[levelName]
	delete(values, levelName)
	if len(level) == 0 {
		return
	}
	kind := "gzip"
	if given := values[compressionName]; len(given) > 0 {
		kind = given[0]
	}
	values[compressionName] = []string{kind + ":" + level[0]}
}

// isListSetting reports whether several values of an option become a list.
func isListSetting(setting string) bool {
	for _, option := range executorOptions() {
		if option.setting == setting {
			return option.kind == optionList
		}
	}
	return false
}

// expandDestinations makes the settings repo and tags of destinations. In the plugin, destinations replace
// them.
func expandDestinations(text string, given map[string]string) (notes []string, err error) {
	entries, err := table.ParseList(destinationsName, text)
	if err != nil {
		return nil, err
	}
	var images, tags []string
	for _, entry := range entries {
		image, tag := splitDestination(entry)
		images, tags = append(images, image), append(tags, tag)
	}
	if len(images) == 0 {
		return nil, fmt.Errorf("%s has no name of an image: set one, for example registry.example.com/acme/app:1.2",
			destinationsName)
	}
	for _, name := range []string{
		repoName, tagsName, "PLUGIN_TAG", tagsFileName, "PLUGIN_TAG_FILE", autoTagName, "PLUGIN_DEFAULT_TAGS",
		expandTagName,
	} {
		if on, err := table.ParseBool(name, given[name]); given[name] != "" && (on || err != nil) {
			notes = append(notes, fmt.Sprintf("%s is not used: %s is set", name, destinationsName))
		}
		delete(given, name)
	}
	given[repoName] = jsonList(images)
	given[tagsName] = jsonList(tags)
	return notes, nil
}

// splitDestination splits the name of an image and its tag. kaniko also accepts Docker Hub's address as the
// key of a config.json.
func splitDestination(entry string) (image, tag string) {
	entry = strings.TrimPrefix(entry, "https://")
	if name, found := strings.CutPrefix(entry, "index.docker.io/v1/"); found {
		entry = name
	}
	image, tag, digest := grammar.SplitReference(entry)
	if digest != "" {
		image += "@" + digest // ParseImage refuses it
	}
	return image, cmp.Or(tag, "latest")
}

func jsonList(entries []string) string {
	list, _ := json.Marshal(entries) // cannot fail: these are strings
	return string(list)
}

// destinationTags returns the tags of each image, by its whole name.
func destinationTags(text string) (map[string][]string, error) {
	entries, err := table.ParseList(destinationsName, text)
	all := map[string][]string{}
	for _, entry := range entries {
		name, tag := splitDestination(entry)
		image, parseErr := registry.ParseImage(name)
		if parseErr != nil {
			return nil, fmt.Errorf("%s: %w", destinationsName, parseErr)
		}
		if !slices.Contains(all[image], tag) {
			all[image] = append(all[image], tag)
		}
	}
	return all, err
}

// expandRepo puts the registry before the names of repo and cache_repo that lack it. Invalid values are
// reported when the table is read.
func expandRepo(given map[string]string) {
	on, boolErr := table.ParseBool(expandRepoName, given[expandRepoName])
	host, hostErr := registry.ParseHost(cmp.Or(given[registryName], given[registryEnv]))
	if boolErr != nil || hostErr != nil || !on || host == hubHost {
		return
	}
	for _, name := range []string{repoName, cacheRepoName} {
		entries, err := table.ParseList(name, given[name])
		if err != nil || len(entries) == 0 {
			continue
		}
		for i, entry := range entries {
			if !strings.HasPrefix(entry, host+"/") {
				entries[i] = host + "/" + entry
			}
		}
		given[name] = jsonList(entries)
		if len(entries) == 1 {
			given[name] = entries[0]
		}
	}
}
