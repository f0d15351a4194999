package settings_test

import (
	"strings"
	"testing"

	"slipway/runner/settings"
	"slipway/runner/spec"
)

func TestCachesOfEverySetting(t *testing.T) {
	cache := func(kind string, pairs ...string) spec.Cache {
		c := spec.Cache{Type: kind, Attrs: map[string]string{}}
		for i := 0; i < len(pairs); i += 2 {
			c.Attrs[pairs[i]] = pairs[i+1]
		}
		return c
	}
	read := cache("registry", "ref", "r.example.com/c:1")
	written := cache(
		"registry",
		"ref",
		"r.example.com/c:1",
		"mode",
		"max",
		"image-manifest",
		"true",
		"oci-mediatypes",
		"true",
		"ignore-error",
		"true",
	)
	type caches struct{ From, To []spec.Cache }
	for line, want := range map[string]caches{
		"A=b":                 {},
		"PLUGIN_CACHE=off":    {},
		"PLUGIN_CACHE=inline": {To: []spec.Cache{{Type: "inline"}}},
		"PLUGIN_CACHE=registry=r.example.com/c:1": {[]spec.Cache{read}, []spec.Cache{written}},
		"PLUGIN_CACHE=local=/cache": {[]spec.Cache{cache("local", "src", "/cache")},
			[]spec.Cache{cache("local", "dest", "/cache", "mode", "max", "ignore-error", "true")}},
		"PLUGIN_CACHE_IMAGES=r.example.com/c:1":                                     {[]spec.Cache{read}, []spec.Cache{written}},
		"PLUGIN_CACHE_FROM=r.example.com/c:1,acme/app":                              {From: []spec.Cache{read, cache("registry", "ref", "acme/app")}},
		`PLUGIN_CACHE_FROM=type=registry\,ref=r.example.com/c:1,type=local\,src=/x`: {From: []spec.Cache{read, cache("local", "src", "/x")}},
		`PLUGIN_CACHE_FROM=type=registry,ref=r.example.com/c:1,type=local,src=/x`:   {From: []spec.Cache{read, cache("local", "src", "/x")}},
		"PLUGIN_CACHE_TO=type=registry,ref=r.example.com/c:1,mode=max":              {To: []spec.Cache{cache("registry", "ref", "r.example.com/c:1", "mode", "max")}},
		"PLUGIN_CACHE_TO=type=inline":                                               {To: []spec.Cache{cache("inline")}},
	} {
		got := readPlugin(t, line)
		checkSame(t, line, caches{got.Build.CacheFrom, got.Build.CacheTo}, want)
	}
}

// Messages about a cache name the setting that the pipeline has.
func TestTheSettingOfACacheIsKnown(t *testing.T) {
	const image = "r.example.com/acme/cache"
	for line, want := range map[string]string{
		"PLUGIN_CACHE=off":                                          "",
		"PLUGIN_CACHE=registry=" + image + "2:1":                    "",
		"PLUGIN_CACHE=registry=" + image + ":1":                     "PLUGIN_CACHE",
		"PLUGIN_CACHE_IMAGES=" + image + ":1":                       "PLUGIN_CACHE_IMAGES",
		"PLUGIN_CACHE_FROM=" + image:                                "PLUGIN_CACHE_FROM",
		"PLUGIN_CACHE_TO=type=registry,ref=" + image:                "PLUGIN_CACHE_TO",
		"PLUGIN_CACHE_FROM=" + image + "\nPLUGIN_CACHE_TO=" + image: "PLUGIN_CACHE_FROM and PLUGIN_CACHE_TO",
		"PLUGIN_ENABLE_CACHE=true\nPLUGIN_CACHE_REPO=" + image:      "PLUGIN_CACHE_REPO",
		"PLUGIN_CACHE=true\nPLUGIN_CACHE_REPO=acme/cache":           "PLUGIN_CACHE_REPO",
		"PLUGIN_ENABLE_CACHE=true\nPLUGIN_REPO=r.example.com/acme":  "PLUGIN_CACHE_REPO (for PLUGIN_ENABLE_CACHE)",
		"PLUGIN_CACHE=true\nPLUGIN_REPO=r.example.com/acme":         "PLUGIN_CACHE_REPO (for PLUGIN_CACHE)",
		"PLUGIN_EXTRA_OPTS=--cache --cache-repo=" + image:           "PLUGIN_CACHE_REPO",
	} {
		got := readPlugin(t, append([]string{"PLUGIN_REPO=r.example.com/acme/app"}, strings.Split(line, "\n")...)...)
		if setting := got.CacheSettings(image); setting != want {
			t.Errorf("%s: got the setting %q, want %q", line, setting, want)
		}
	}
}

func TestCacheFaultsNameTheSetting(t *testing.T) {
	checkFaults(
		t,
		func(line string) error { _, err := settings.ReadPlugin(plugin(line)); return err },
		map[string]string{
			"PLUGIN_CACHE=maybe":                `PLUGIN_CACHE is "maybe": use off`,
			"PLUGIN_CACHE=registry":             "PLUGIN_CACHE is",
			"PLUGIN_CACHE_FROM=type=gha":        `PLUGIN_CACHE_FROM: entry 1 has type "gha"`,
			"PLUGIN_CACHE_FROM=type=inline":     "PLUGIN_CACHE_FROM: entry 1 has type",
			"PLUGIN_CACHE_TO=type=registry":     "PLUGIN_CACHE_TO: entry 1, of type registry, has no ref",
			"PLUGIN_CACHE_TO=type=local,src=/x": "PLUGIN_CACHE_TO: entry 1, of type local, has no dest",
			"PLUGIN_CACHE_IMAGES=[1]":           "PLUGIN_CACHE_IMAGES begins with [",
		},
	)
}
