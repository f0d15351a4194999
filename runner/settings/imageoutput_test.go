package settings_test

import (
	"testing"

	"slipway/runner/spec"
)

func TestOutputAcceptsTheSyntaxOfBuildx(t *testing.T) {
	for line, want := range map[string]struct {
		build  spec.BuildOptions
		dryRun bool
		args   map[string]string
	}{
		"type=image,push=true,rewrite-timestamp=true": {build: spec.BuildOptions{RewriteTimestamp: true}, args: map[string]string{"SOURCE_DATE_EPOCH": "17"}},
		"type=image,push=false":                       {dryRun: true},
		"type=cacheonly":                              {dryRun: true},
		"type=registry,oci-mediatypes=true":           {build: spec.BuildOptions{OCI: true}},
		"type=image,compression=zstd":                 {build: spec.BuildOptions{Compression: spec.Compression{Type: "zstd"}}},
		"type=image,compression-level=9":              {build: spec.BuildOptions{Compression: spec.Compression{Type: "gzip", Level: "9"}}},
		"type=image,compression=zstd,compression-level=3,force-compression=true": {
			build: spec.BuildOptions{Compression: spec.Compression{Type: "zstd", Level: "3"}, ForceCompression: true}},
		"type=oci,dest=out/app.tar": {build: spec.BuildOptions{Archive: spec.Archive{Type: "oci", Path: "out/app.tar"}}},
		"type=docker,dest=/app.tar": {build: spec.BuildOptions{Archive: spec.Archive{Type: "docker", Path: "/app.tar"}}},
	} {
		got := readPlugin(t, "PLUGIN_OUTPUT="+line, "SOURCE_DATE_EPOCH=17")
		want.build.Pull = true
		if want.args == nil {
			want.args = map[string]string{}
		}
		checkSame(t, line, got.Build, want.build)
		checkEqual(t, line+": dry run", got.DryRun, want.dryRun)
		checkSame(t, line+": build arguments", got.BuildArgs, want.args)
		if want.dryRun {
			checkEqual(t, line+": origin of the dry run", got.Origins["PLUGIN_DRY_RUN"], "PLUGIN_OUTPUT")
		}
	}
	dry := readPlugin(t, "PLUGIN_OUTPUT=type=image,push=true", "PLUGIN_DRY_RUN=true",
		"PLUGIN_BUILD_ARGS=SOURCE_DATE_EPOCH=1")
	checkEqual(t, "dry run", dry.DryRun, true)
	checkEqual(t, "build argument", dry.BuildArgs["SOURCE_DATE_EPOCH"], "1")
}

func TestOutputFaultsNameTheSetting(t *testing.T) {
	for line, want := range map[string]string{
		"type=local,dest=out":                  `has type "local"`,
		"push=true":                            `has type ""`,
		"type=oci":                             "type=oci without a file: set dest=path",
		"type=tar,dest=-":                      "type=tar without a file",
		"type=image,dest=x":                    "type=image does not write",
		"type=image,name=acme/other":           "set the image's name in PLUGIN_REPO",
		"type=image,push-by-digest=true":       `has "push-by-digest"`,
		"type=image,push=maybe":                `push is "maybe"`,
		"type=image,compression=estargz":       `compression is "estargz"`,
		"type=image,push=true,type=oci,dest=x": "more than one output",
	} {
		checkError(t, line, pluginError("PLUGIN_OUTPUT="+line), "PLUGIN_OUTPUT", want)
	}
	checkError(t, "two compressions",
		pluginError("PLUGIN_OUTPUT=type=image,compression=zstd", "PLUGIN_COMPRESSION=gzip"),
		"both set the compression of layers")
}
