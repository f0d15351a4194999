package settings_test

import (
	"testing"

	"slipway/runner/settings"
	"slipway/runner/spec"
)

func TestNamedContexts(t *testing.T) {
	want := []spec.NamedContext{
		{Name: "alpine:3.20", Source: "docker-image://registry.example.com/alpine:3.20"},
		{Name: "lib", Dir: "libs/lib"},
		{Name: "tool", Source: "https://git.example.com/acme/tool.git#v1"},
	}
	for _, line := range []string{
		"PLUGIN_BUILD_CONTEXTS=lib=libs/lib,tool=https://git.example.com/acme/tool.git#v1," +
			"docker.io/library/alpine:3.20=docker-image://registry.example.com/alpine:3.20",
		`PLUGIN_BUILD_CONTEXT={"lib":"libs/lib","tool":"https://git.example.com/acme/tool.git#v1",` +
			`"alpine:3.20":"docker-image://registry.example.com/alpine:3.20"}`,
	} {
		got := readPlugin(t, line).Build.Contexts
		byName := map[string]spec.NamedContext{}
		for _, c := range got {
			byName[c.Name] = c
		}
		for _, c := range want {
			checkEqual(t, line, byName[c.Name], c)
		}
		checkEqual(t, "number of contexts", len(got), len(want))
	}
}

func TestOptionsOfRUN(t *testing.T) {
	got := readPlugin(t, "PLUGIN_ULIMIT=nofile=1024:4096,nproc=512", "PLUGIN_SHM_SIZE=256m",
		"PLUGIN_ALLOW=network.host,device=vendor.com/gpu=0", "PLUGIN_BUILDER=unix:///b.sock",
		"PLUGIN_NO_CACHE_FILTERS=a,b")
	checkSame(t, "limits", got.Build.Ulimits, []string{"nofile=1024:4096", "nproc=512:512"})
	checkEqual(t, "size of /dev/shm", got.Build.ShmSize, 256<<20)
	checkSame(t, "rights", got.Build.Allow, []string{"network.host", "device=vendor.com/gpu=0"})
	checkSame(t, "stages without cache", got.Build.NoCacheStages, []string{"a", "b"})
}

func TestACheckIsADryRun(t *testing.T) {
	got := readPlugin(t, "PLUGIN_CALL=check")
	checkEqual(t, "check", got.Check, true)
	checkEqual(t, "dry run", got.DryRun, true)
	checkEqual(t, "origin of the dry run", got.Origins["PLUGIN_DRY_RUN"], "PLUGIN_CALL")
	checkEqual(t, "check of a build", readPlugin(t, "PLUGIN_CALL=build").Check, false)
}

func TestFaultsOfTheOptionsOfRUNNameTheSetting(t *testing.T) {
	checkFaults(
		t,
		func(line string) error { _, err := settings.ReadPlugin(plugin(line)); return err },
		map[string]string{
			"PLUGIN_BUILD_CONTEXTS=lib":                "PLUGIN_BUILD_CONTEXTS: entry 1 is not name=directory",
			"PLUGIN_BUILD_CONTEXTS=lib=a,lib=b":        "PLUGIN_BUILD_CONTEXTS: the context lib is set twice",
			"PLUGIN_BUILD_CONTEXTS=Lib=a":              `"Lib" is not a name of a context`,
			"PLUGIN_BUILD_CONTEXTS=lib=oci-layout://a": "the context lib has oci-layout://",
			"PLUGIN_ALLOW=network.host":                "the step's own builder grants no rights",
			"PLUGIN_ALLOW=everything":                  `PLUGIN_ALLOW has "everything"`,
			"PLUGIN_ULIMIT=nofile":                     `PLUGIN_ULIMIT has "nofile"`,
			"PLUGIN_SHM_SIZE=much":                     `PLUGIN_SHM_SIZE is "much"`,
			"PLUGIN_SHM_SIZE=0":                        `PLUGIN_SHM_SIZE is "0"`,
			"PLUGIN_CALL=outline":                      `PLUGIN_CALL is "outline": use build or check`,
		},
	)
	checkError(
		t,
		"a check that only pushes",
		pluginError("PLUGIN_CALL=check", "PLUGIN_PUSH_ONLY=true"),
		"PLUGIN_CALL is check",
	)
	checkError(t, "a check with a digest",
		pluginError("PLUGIN_CALL=check", "PLUGIN_DIGEST_FILE=digest"), "PLUGIN_CALL is check, and PLUGIN_DIGEST_FILE")
	checkError(t, "a check with a file",
		pluginError("PLUGIN_CALL=check", "PLUGIN_OUTPUT=type=oci,dest=x.tar"), "PLUGIN_CALL is check")
}

// An attribute that BuildKit would ignore is an error, or is named.
func TestUnknownAttributesAreErrors(t *testing.T) {
	checkFaults(
		t,
		func(line string) error { _, err := settings.ReadPlugin(plugin(line, "TOKEN=canary")); return err },
		map[string]string{
			"PLUGIN_CACHE_TO=type=registry,ref=r.example.com/c,mod=max":   `PLUGIN_CACHE_TO: entry 1, of type registry, has "mod"`,
			"PLUGIN_CACHE_TO=type=registry,ref=r.example.com/c,mode=all":  "has mode=all: use min, max",
			"PLUGIN_CACHE_TO=type=local,dest=/c,ignore-error=maybe":       "has ignore-error=maybe",
			"PLUGIN_CACHE_TO=type=inline,mode=max":                        `PLUGIN_CACHE_TO: entry 1, of type inline, has "mode"`,
			"PLUGIN_CACHE_FROM=type=registry,ref=r.example.com/c,scope=x": `PLUGIN_CACHE_FROM: entry 1, of type registry, has "scope"`,
			"PLUGIN_SECRET=id=npm,type=vault":                             "PLUGIN_SECRET: entry 1 has type=vault",
			"PLUGIN_SECRET=id=npm,type=file":                              "PLUGIN_SECRET: entry 1 has type=file without src",
			"PLUGIN_SECRET=id=npm,src=a,source=b":                         "PLUGIN_SECRET: entry 1 has both src and source",
			"PLUGIN_SECRET=id=npm,env=TOKEN,mode=0400":                    `PLUGIN_SECRET: entry 1 has "mode"`,
			"PLUGIN_OUTPUT=type=image,unpack=true":                        `PLUGIN_OUTPUT has "unpack"`,
		},
	)
	got := readPlugin(t, "PLUGIN_CACHE_FROM=type=registry,ref=r.example.com/c,mode=max")
	checkNotes(
		t,
		"an attribute of the other direction",
		got.Warnings,
		"PLUGIN_CACHE_FROM: entry 1 has mode, which has no effect there",
	)
}

func TestKeysForSSH(t *testing.T) {
	got := readPlugin(t, "PLUGIN_SSH=default,deploy=ci/key.pem", "SSH_AUTH_SOCK=/run/agent.sock")
	checkSame(t, "keys", got.Build.SSH, []spec.SSHAgent{
		{ID: "default", Path: "/run/agent.sock"}, {ID: "deploy", Path: "ci/key.pem"},
	})
	checkError(t, "no agent", pluginError("PLUGIN_SSH=default"), "the step has no agent (SSH_AUTH_SOCK)")
	checkError(t, "no path", pluginError("PLUGIN_SSH=deploy="), `PLUGIN_SSH has "deploy=": set default, or id=path`)
	checkError(t, "an id twice", pluginError("PLUGIN_SSH=a=x,a=y"), "PLUGIN_SSH: the id a is set twice")
	checkError(t, "two default keys", pluginError("PLUGIN_SSH=default=x", "PLUGIN_SSH_AGENT_KEY=canary"),
		"PLUGIN_SSH_AGENT_KEY is the key with the id default")
}

// The address of a private repository may have a token, which the log shows nowhere.
func TestCredentialsOfContextsAreMasked(t *testing.T) {
	got := readPlugin(t, "PLUGIN_BUILD_CONTEXTS=a=https://canary-1@git.example.com/a.git,"+
		"b=https://ci:canary-2@git.example.com/b.git,c=ssh://git@git.example.com/c.git")
	checkMasked(t, got, "canary-1")
	checkMasked(t, got, "canary-2")
	for _, s := range got.Secrets() {
		if s.Reveal() == "git" {
			t.Error("the user git of ssh: got a secret, want none")
		}
	}
}
