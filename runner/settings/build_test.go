package settings_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/secret"
	"slipway/runner/settings"
	"slipway/runner/spec"
)

func TestBuildSecretsOfEverySetting(t *testing.T) {
	env, file := spec.BuildSecret{ID: "a", Value: secret.New("canary-a")}, spec.BuildSecret{ID: "b", File: "etc/b"}
	for line, want := range map[string][]spec.BuildSecret{
		"PLUGIN_SECRET=id=a,env=TOKEN":                       {env},
		"PLUGIN_SECRET=type=file,id=b,source=etc/b":          {file},
		`PLUGIN_SECRETS=id=a\,env=TOKEN,id=b\,src=etc/b`:     {env, file},
		`PLUGIN_SECRETS=id=a,env=TOKEN,id=b,src=etc/b`:       {env, file},
		`PLUGIN_SECRETS=["id=a,env=TOKEN","id=b,src=etc/b"]`: {env, file},
		`PLUGIN_SECRETS=type=env,id=a,src=TOKEN`:             {env},
		`PLUGIN_SECRETS=id=TOKEN`:                            {{ID: "TOKEN", Value: secret.New("canary-a")}},
		`PLUGIN_SECRETS=id=b,"src=x,y"`:                      {{ID: "b", File: "x,y"}},
		"PLUGIN_SECRETS_FROM_ENV=a=TOKEN":                    {env},
		"PLUGIN_SECRETS_FROM_FILE=b=etc/b,c=/run/c":          {file, {ID: "c", File: "/run/c"}},
	} {
		got := readPlugin(t, line, "TOKEN=canary-a")
		checkSame(t, line, got.Build.Secrets, want)
		masked := slices.ContainsFunc(got.Secrets(), func(s secret.Secret) bool { return s.Reveal() == "canary-a" })
		checkEqual(t, line+": masked in the log", masked, strings.Contains(line, "TOKEN"))
		if shown := fmt.Sprintf("%+v", got); strings.Contains(shown, "canary") {
			t.Errorf("%s: settings: got %s, want no secret in it", line, shown)
		}
	}
}

func TestBuildArgumentsOfEverySetting(t *testing.T) {
	for line, want := range map[string]map[string]string{
		`PLUGIN_BUILD_ARGS={"LIST":"1,2","N":7,"YES":true,"NO":null}`: {"LIST": "1,2", "N": "7", "YES": "true", "NO": ""},
		`PLUGIN_BUILD_ARGS=[{"A":"1","B":2},"C=3"]`:                   {"A": "1", "B": "2", "C": "3"},
		"PLUGIN_BUILD_ARGS_FROM_ENV=VERSION,absent":                   {"VERSION": "1.2"},
		"PLUGIN_BUILD_ARGS_FROM_ENV=version":                          {"VERSION": "1.2", "version": "1.2"},
		"PLUGIN_BUILD_ARGS_NEW=A=1,2;B=3":                             {},
	} {
		got := readPlugin(t, line, "VERSION=1.2")
		checkSame(t, line, got.BuildArgs, want)
		isNoted := strings.Contains(line, "absent") || strings.Contains(line, "NEW")
		checkEqual(t, line+": one note", len(got.Warnings) == 1, isNoted)
	}
	got := readPlugin(t, "PLUGIN_BUILD_ARGS=C=4", "PLUGIN_BUILD_ARGS_NEW=A=1,2; B=3;",
		"PLUGIN_MULTIPLE_BUILD_ARGS=true")
	checkSame(t, "several build arguments", got.BuildArgs, map[string]string{"A": "1,2", "B": "3"})
	checkNotes(t, "several build arguments", got.Warnings, "PLUGIN_BUILD_ARGS is not used")
}

func TestProxiesAreBuildArgumentsInBothCases(t *testing.T) {
	got, err := settings.ReadPlugin(
		plugin(
			"PLUGIN_HTTPS_PROXY=http://ci:canary-p%40ss@proxy:3128",
			"https_proxy=http://other",
			"http_proxy=http://plain:3128",
			"NO_PROXY=localhost",
			"PLUGIN_BUILD_ARGS=no_proxy=mine",
		),
	)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for _, p := range got.Build.Proxies {
		values[p.Name] = p.Value.Reveal()
	}
	want := map[string]string{
		"HTTP_PROXY": "http://plain:3128", "http_proxy": "http://plain:3128",
		"HTTPS_PROXY": "http://ci:canary-p%40ss@proxy:3128", "https_proxy": "http://ci:canary-p%40ss@proxy:3128",
	}
	if diff := cmp.Diff(want, values); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	log := string(secret.NewRedactor(got.Secrets()...).Mask([]byte("http://plain:3128 ci:canary-p%40ss canary-p@ss")))
	if strings.Contains(log, "canary") {
		t.Errorf("log: got %s, want no secret in it", log)
	}
	if !strings.Contains(log, "plain") {
		t.Errorf("log: got %s, want the address without a password in it", log)
	}
}

func TestHostsAndTheBaseImage(t *testing.T) {
	got := readPlugin(t, "PLUGIN_ADD_HOST=db:10.0.0.1,six=fe80::1,seven:[::1]", "PLUGIN_PULL_IMAGE=false")
	want := spec.BuildOptions{Hosts: []spec.Host{
		{Name: "db", Address: netip.MustParseAddr("10.0.0.1")},
		{Name: "six", Address: netip.MustParseAddr("fe80::1")},
		{Name: "seven", Address: netip.MustParseAddr("::1")},
	}}
	checkSame(t, "options", got.Build, want)
}

func TestLabelsOfEverySetting(t *testing.T) {
	got := readPlugin(t, "PLUGIN_LABEL=a=1", `PLUGIN_LABELS=["b=1,2"]`, `PLUGIN_CUSTOM_LABELS={"c":"x=y"}`,
		"PLUGIN_LABEL_SCHEMA=vendor=Acme", "PLUGIN_REPO_LINK=https://x")
	checkSame(t, "a label without a value", readPlugin(t, "PLUGIN_LABELS=noeq,a=1").Labels.Named,
		map[string]string{"noeq": "", "a": "1"})
	want := settings.Labels{
		Named:  map[string]string{"a": "1", "b": "1,2", "c": "x=y"},
		Schema: map[string]string{"vendor": "Acme"},
		Link:   "https://x",
		Auto:   true,
	}
	checkSame(t, "labels", got.Labels, want)
	for _, off := range []string{"PLUGIN_AUTO_LABEL=false", "PLUGIN_DEFAULT_LABELS=false"} {
		got := readPlugin(t, off, "PLUGIN_LABEL_SCHEMA=vendor=Acme")
		checkEqual(t, off, got.Labels.Auto, false)
		checkNotes(t, off, got.Warnings, "PLUGIN_LABEL_SCHEMA is not used")
	}
}

func TestPlatformsCompressionAndAttestations(t *testing.T) {
	got := readPlugin(t, "PLUGIN_PLATFORM=linux/amd64", "PLUGIN_PLATFORMS=linux/arm64,linux/amd64",
		"PLUGIN_COMPRESSION=ZSTD:9", "PLUGIN_PROVENANCE=true", "PLUGIN_SBOM=generator=acme/scanner")
	want := spec.BuildOptions{
		Pull:        true,
		Compression: spec.Compression{Type: "zstd", Level: "9"},
		Provenance:  "mode=min",
		SBOM:        "generator=acme/scanner",
	}
	checkSame(t, "options", got.Build, want)
	checkSame(t, "platforms", got.Platforms, []string{"linux/amd64", "linux/arm64"})
	checkNotes(t, "options", got.Warnings)
	ignored := readPlugin(t, "PLUGIN_COMPRESS=true", "PLUGIN_BUILDKIT_CONFIG=debug = true",
		"PLUGIN_BUILDKIT_DRIVEROPT=network=host", "PLUGIN_BUILDKIT_DEBUG=true", "PLUGIN_SBOM=false")
	checkSame(t, "without options", ignored.Build, spec.BuildOptions{Pull: true})
	checkNotes(t, "without options", ignored.Warnings, "PLUGIN_BUILDKIT_DEBUG", "PLUGIN_BUILDKIT_CONFIG")
	if note := strings.Join(ignored.Warnings, ""); strings.Contains(note, "\n") {
		t.Errorf("got note %q, want one line", note)
	}
	checkError(t, "a proxy's password in the image",
		pluginError("PLUGIN_PROVENANCE=mode=max", "https_proxy=http://ci:canary@proxy"),
		"a proxy of the step holds a password")
}

func TestBuildOptionFaultsNameTheSetting(t *testing.T) {
	checkFaults(
		t,
		func(line string) error { _, err := settings.ReadPlugin(plugin(line, "TOKEN=canary")); return err },
		map[string]string{
			"PLUGIN_SECRET=id=a,env=ABSENT":                "PLUGIN_SECRET: the step's environment has no ABSENT",
			"PLUGIN_SECRET=canary":                         "PLUGIN_SECRET: entry 1 has",
			"PLUGIN_SECRET=id=a,env=TOKEN,src=x":           "PLUGIN_SECRET: the secret a has both",
			"PLUGIN_SECRETS=id=a,mode=1":                   `PLUGIN_SECRETS: entry 1 has "mode"`,
			`PLUGIN_SECRETS=id=a,"env=x`:                   "PLUGIN_SECRETS: entry 1 is not of the form",
			"PLUGIN_SECRETS=id=a,env=TOKEN,id=a,env=TOKEN": "PLUGIN_SECRETS: the secret a is set twice",
			"PLUGIN_SECRETS=[1]":                           "PLUGIN_SECRETS begins with [",
			"PLUGIN_SECRETS_FROM_ENV=a/b=TOKEN":            `PLUGIN_SECRETS_FROM_ENV: "a/b" is not an id`,
			"PLUGIN_SECRETS_FROM_ENV=TOKEN":                "PLUGIN_SECRETS_FROM_ENV: entry 1 is not id=NAME",
			"PLUGIN_SECRETS_FROM_FILE=a=":                  "PLUGIN_SECRETS_FROM_FILE: entry 1 is not id=path",
			"PLUGIN_BUILD_ARGS_FROM_ENV=A-B":               `PLUGIN_BUILD_ARGS_FROM_ENV has "A-B"`,
			"PLUGIN_MULTIPLE_BUILD_ARGS=2":                 "PLUGIN_MULTIPLE_BUILD_ARGS is",
			`PLUGIN_BUILD_ARGS={"A":["canary"]}`:           `PLUGIN_BUILD_ARGS: the value of "A" is not text`,
			`PLUGIN_BUILD_ARGS={"A-B":"canary"}`:           `PLUGIN_BUILD_ARGS has "A-B"`,
			`PLUGIN_BUILD_ARGS={canary`:                    "PLUGIN_BUILD_ARGS begins with {",
			"PLUGIN_ADD_HOST=db":                           `PLUGIN_ADD_HOST has "db"`,
			"PLUGIN_ADD_HOST=db:host-gateway":              "PLUGIN_ADD_HOST has",
			"PLUGIN_LABELS==a":                             "PLUGIN_LABELS: entry 1 is not NAME=value",
			"PLUGIN_LABEL=a b=1":                           "PLUGIN_LABEL: entry 1",
			`PLUGIN_CUSTOM_LABELS={"a b":"1"}`:             `PLUGIN_CUSTOM_LABELS has "a b"`,
			"PLUGIN_AUTO_LABEL=2":                          "PLUGIN_AUTO_LABEL is",
			"PLUGIN_DEFAULT_LABELS=2":                      "PLUGIN_DEFAULT_LABELS is",
			"PLUGIN_PLATFORMS=amd64":                       `PLUGIN_PLATFORMS has "amd64"`,
			"PLUGIN_COMPRESSION=estargz":                   "PLUGIN_COMPRESSION: compression is",
			"PLUGIN_COMPRESSION=gzip:10":                   "levels of gzip are 0 to 9",
			"PLUGIN_PROVENANCE=much":                       "PLUGIN_PROVENANCE is",
			"PLUGIN_SBOM=2":                                "PLUGIN_SBOM is",
			"PLUGIN_PULL_IMAGE=always":                     "PLUGIN_PULL_IMAGE is",
		},
	)
}

func TestKeysAndProxiesLeaveTheEnvironment(t *testing.T) {
	e := plugin("PLUGIN_SSH_AGENT_KEY=canary-key", "PLUGIN_HTTP_PROXY=http://a:canary@b")
	got, err := settings.ReadPlugin(e)
	if err != nil {
		t.Fatal(err)
	}
	checkRemoved(t, e, "PLUGIN_SSH_AGENT_KEY", "PLUGIN_HTTP_PROXY")
	checkMasked(t, got, "canary-key")
	checkEqual(t, "key", got.Build.SSHKey.Reveal(), "canary-key")
}
