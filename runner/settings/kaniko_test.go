package settings_test

import (
	"testing"

	"slipway/runner/settings"
	"slipway/runner/spec"
)

func TestOptionsOfKanikosExecutorBecomeSettings(t *testing.T) {
	got := readPlugin(
		t,
		"PLUGIN_BUILD_ARGS=A=1",
		"PLUGIN_EXTRA_OPTS=--build-arg=B=2,3 --build-arg C=4 --label team=web --target=release --custom-platform=linux/arm64 "+
			"--compression=zstd --compression-level=3 --context=dir://svc --context-sub-path=sub --digest-file=digest "+
			"--insecure-registry=a.example.com --insecure-registry=b.example.com --registry-map=quay.io=m.example.com;gcr.io=n.example.com "+
			"--no-push --snapshot-mode=redo --cache-run-layers=false",
	)
	checkSame(t, "build arguments", got.BuildArgs, map[string]string{"A": "1", "B": "2,3", "C": "4"})
	checkSame(t, "labels", got.Labels.Named, map[string]string{"team": "web"})
	checkEqual(t, "target", got.Target, "release")
	checkSame(t, "platforms", got.Platforms, []string{"linux/arm64"})
	checkSame(t, "compression", got.Build.Compression, spec.Compression{Type: "zstd", Level: "3"})
	checkEqual(t, "context", got.Context, "svc/sub")
	checkEqual(t, "file of the digest", got.Files.Digest, "digest")
	checkEqual(t, "dry run", got.DryRun, true)
	checkSame(t, "mirrors", got.LocalBuilder.Mirrors, []string{"quay.io=m.example.com", "gcr.io=n.example.com"})
	var insecure []string
	for _, l := range got.Logins {
		if l.Insecure {
			insecure = append(insecure, l.Host)
		}
	}
	checkSame(t, "registries with plain HTTP", insecure, []string{"a.example.com", "b.example.com"})
	checkNotes(t, "notes", got.Warnings, "PLUGIN_SNAPSHOT_MODE has no effect")
}

// A pipeline may set a variable to nothing, which counts as not set.
func TestAnOptionReplacesAnEmptySetting(t *testing.T) {
	got := readPlugin(t, "PLUGIN_LABEL=", "PLUGIN_TARGET=", "PLUGIN_EXTRA_OPTS=--label=team=web --target=release")
	checkSame(t, "labels", got.Labels.Named, map[string]string{"team": "web"})
	checkEqual(t, "target", got.Target, "release")
}

func TestDestinationsReplaceRepoAndTags(t *testing.T) {
	got := readPlugin(t, "PLUGIN_TAGS=unused", "PLUGIN_EXPAND_TAG=true", "PLUGIN_DESTINATIONS="+
		"index.docker.io/v1/acme/app:dev,registry.example.com:5000/acme/app:1.2,registry.example.com:5000/acme/app")
	checkSame(t, "images", got.Images, []string{"docker.io/acme/app", "registry.example.com:5000/acme/app"})
	checkSame(t, "tags at Docker Hub", got.TagsFor("docker.io/acme/app"), []string{"dev"})
	checkSame(
		t,
		"tags at the other registry",
		got.TagsFor("registry.example.com:5000/acme/app"),
		[]string{"1.2", "latest"},
	)
	checkEqual(t, "origin of the images", got.Origins["PLUGIN_REPO"], "PLUGIN_DESTINATIONS")
	checkEqual(t, "origin of the tags", got.Origins["PLUGIN_TAGS"], "PLUGIN_DESTINATIONS")
	checkNotes(t, "notes", got.Warnings,
		"PLUGIN_REPO is not used: PLUGIN_DESTINATIONS is set", "PLUGIN_TAGS is not used: PLUGIN_DESTINATIONS is set",
		"PLUGIN_EXPAND_TAG is not used: PLUGIN_DESTINATIONS is set")
}

func TestKanikosCacheIsBesideTheImage(t *testing.T) {
	for _, c := range []struct {
		name    string
		environ []string
		want    string // reference of the cache; empty = none
	}{
		{"Drone's setting", []string{"PLUGIN_ENABLE_CACHE=true"}, "registry.example.com/acme/app/cache:latest"},
		{"Woodpecker's setting", []string{"PLUGIN_CACHE=true"}, "registry.example.com/acme/app/cache:latest"},
		{
			"a repository of its own",
			[]string{"PLUGIN_CACHE=true", "PLUGIN_CACHE_REPO=acme/cache"}, "registry.example.com/acme/cache:latest",
		},
		{
			"another registry",
			[]string{"PLUGIN_CACHE=true", "PLUGIN_CACHE_REPO=r.example.com/cache:1"}, "r.example.com/cache:1",
		},
		{
			"expanded",
			[]string{
				"PLUGIN_REPO=acme/app", "PLUGIN_REGISTRY=https://r.example.com/", "PLUGIN_EXPAND_REPO=true",
				"PLUGIN_ENABLE_CACHE=true", "PLUGIN_CACHE_REPO=acme/cache",
			},
			"r.example.com/acme/cache:latest",
		},
		{
			"expanded by a variable of the environment",
			[]string{
				"PLUGIN_REPO=acme/app", "DOCKER_REGISTRY=r.example.com", "PLUGIN_EXPAND_REPO=true",
				"PLUGIN_ENABLE_CACHE=true",
			},
			"r.example.com/acme/app/cache:latest",
		},
		{"off", []string{"PLUGIN_CACHE=false"}, ""},
	} {
		got := readPlugin(t, c.environ...)
		ref := ""
		if len(got.Build.CacheTo) > 0 {
			ref = got.Build.CacheTo[0].Attrs["ref"]
		}
		checkEqual(t, c.name, ref, c.want)
	}
	got := readPlugin(t, "PLUGIN_CACHE_REPO=acme/cache")
	checkNotes(t, "without enable_cache", got.Warnings, "PLUGIN_CACHE_REPO is not used")
}

func TestAJSONKeyIsALoginAtGooglesRegistries(t *testing.T) {
	e := plugin("PLUGIN_REPO=gcr.io/acme/app", "PLUGIN_JSON_KEY={\"private_key\":\"canary\"}")
	got, err := settings.ReadPlugin(e)
	if err != nil {
		t.Fatal(err)
	}
	login := got.LoginFor("gcr.io/acme/app")
	checkEqual(t, "user", login.Username, "_json_key")
	checkEqual(t, "password", login.Password.Reveal(), "{\"private_key\":\"canary\"}")
	checkMasked(t, got, "{\"private_key\":\"canary\"}")
	checkRemoved(t, e, "PLUGIN_JSON_KEY")
}

func TestKanikosCertificates(t *testing.T) {
	got := readPlugin(t, "PLUGIN_REGISTRY_CERTIFICATE=a.example.com=/ca.pem,b.example.com:5000=ca/b.pem",
		"PLUGIN_REGISTRY_CLIENT_CERT=a.example.com=c.pem,k.pem,b.example.com:5000=d.pem,l.pem")
	checkSame(t, "certificates", got.Certificates, []settings.Certificate{
		{Host: "a.example.com", Authorities: []string{"/ca.pem"}, Origin: "PLUGIN_REGISTRY_CERTIFICATE"},
		{Host: "b.example.com:5000", Authorities: []string{"ca/b.pem"}, Origin: "PLUGIN_REGISTRY_CERTIFICATE"},
		{Host: "a.example.com", Pairs: []settings.KeyPair{{"c.pem", "k.pem"}}, Origin: "PLUGIN_REGISTRY_CLIENT_CERT"},
		{
			Host:   "b.example.com:5000",
			Pairs:  []settings.KeyPair{{"d.pem", "l.pem"}},
			Origin: "PLUGIN_REGISTRY_CLIENT_CERT",
		},
	})
}

func TestFaultsOfKanikosSettingsNameTheSetting(t *testing.T) {
	checkFaults(
		t,
		func(line string) error {
			_, err := settings.ReadPlugin(plugin(line, "PLUGIN_TARGET=release"))
			return err
		},
		map[string]string{
			"PLUGIN_EXTRA_OPTS=--git=branch":                  "PLUGIN_EXTRA_OPTS has --git, which is no option of kaniko",
			"PLUGIN_EXTRA_OPTS=word":                          "PLUGIN_EXTRA_OPTS: word 1 is no option",
			"PLUGIN_EXTRA_OPTS=--build-arg=\"A=x canary\"":    "PLUGIN_EXTRA_OPTS: word 2 is no option",
			"PLUGIN_EXTRA_OPTS=--target":                      "PLUGIN_EXTRA_OPTS: the option --target has no value",
			"PLUGIN_EXTRA_OPTS=--target=other":                "PLUGIN_TARGET and an option in PLUGIN_EXTRA_OPTS set the same",
			"PLUGIN_EXTRA_OPTS=--ignore-path=/x":              "PLUGIN_IGNORE_PATHS is not supported",
			"PLUGIN_DESTINATIONS=,":                           "PLUGIN_DESTINATIONS has no name of an image",
			"PLUGIN_IGNORE_PATH=/x":                           "RUN --mount=type=tmpfs",
			"PLUGIN_OCI_LAYOUT_PATH=out":                      "set output: type=oci,dest=image.tar",
			"PLUGIN_SKIP_DEFAULT_REGISTRY_FALLBACK=true":      "PLUGIN_SKIP_DEFAULT_REGISTRY_FALLBACK is not supported",
			"PLUGIN_REGISTRY_CERTIFICATE=/ca.pem":             "PLUGIN_REGISTRY_CERTIFICATE has \"/ca.pem\": set registry=path",
			"PLUGIN_REGISTRY_CLIENT_CERT=r.example.com=c.pem": "PLUGIN_REGISTRY_CLIENT_CERT: set registry=certificate,key",
			"PLUGIN_INSECURE_REGISTRY=a b":                    "PLUGIN_INSECURE_REGISTRY",
			"PLUGIN_TAR_PATH=a,b":                             "PLUGIN_TAR_PATH has a comma",
			"PLUGIN_EXPAND_TAG=maybe":                         `PLUGIN_EXPAND_TAG is "maybe"`,
		},
	)
	checkError(
		t,
		"Docker Hub has no repository below another",
		pluginError(
			"PLUGIN_REPO=acme/app",
			"PLUGIN_ENABLE_CACHE=true",
		),
		"PLUGIN_CACHE_REPO is not set",
		"acme/app-cache",
	)
	checkError(t, "two ways to make tags", pluginError("PLUGIN_AUTO_TAG=true", "PLUGIN_EXPAND_TAG=true"),
		"PLUGIN_AUTO_TAG and PLUGIN_EXPAND_TAG are both true")
	checkError(t, "a file without a build", pluginError("PLUGIN_TAR_PATH=x.tar", "PLUGIN_PUSH_ONLY=true"),
		"PLUGIN_TAR_PATH asks for a file of the image")
	checkError(t, "two outputs", pluginError("PLUGIN_TAR_PATH=x.tar", "PLUGIN_OUTPUT=type=image"),
		"PLUGIN_TAR_PATH and PLUGIN_OUTPUT are both set")
}

func TestASourceTarIsTheSourceOfACopy(t *testing.T) {
	got := readPlugin(t, "PLUGIN_PUSH_ONLY=true", "PLUGIN_SOURCE_TAR_PATH=out/image.tar")
	checkEqual(t, "file", got.Copy.File, "out/image.tar")
	checkEqual(t, "reference", got.Copy.Reference, "")
	got = readPlugin(t, "PLUGIN_SOURCE_TAR_PATH=out/image.tar")
	checkNotes(t, "without push_only", got.Warnings, "PLUGIN_SOURCE_TAR_PATH is not used: PLUGIN_PUSH_ONLY is not true")
	checkError(
		t,
		"two sources",
		pluginError(
			"PLUGIN_PUSH_ONLY=true",
			"PLUGIN_SOURCE_TAR_PATH=a",
			"PLUGIN_SOURCE_IMAGE=acme/app:1",
		),
		"are both set",
	)
}
