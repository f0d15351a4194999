package step_test

import (
	"strings"
	"testing"

	"slipway/runner/ecr/ecrtest"
	"slipway/runner/settings"
)

// filesOfEffects returns the files of the workspace.
func filesOfEffects() map[string]string {
	return map[string]string{
		"Dockerfile": "FROM scratch\n", "app/Dockerfile": "FROM app\n", "svc/file": "",
		"tags": "9.9", "vars": "PLUGIN_TAGS=7.7\n", "secret.txt": "secret", "ca.pem": "authority", "key.pem": "key",
		"policy.json": `{"rules":[]}`,
	}
}

// effectsOfSettings returns the effect of each setting without PLUGIN_, but for those whose help says that
// they have none, are refused, or are the same as another one.
func effectsOfSettings(t *testing.T) map[string]effect {
	t.Helper()
	all := map[string]effect{}
	for _, part := range []map[string]effect{
		imageEffects(), loginEffects(), sourceEffects(), buildEffects(), outputEffects(), builderEffects(),
		reportEffects(), copyEffects(t), amazonEffects(), kanikoEffects(),
	} {
		for name, e := range part {
			all[name] = e
		}
	}
	return all
}

func imageEffects() map[string]effect {
	onTag := []string{"DRONE_BUILD_EVENT=tag", "DRONE_COMMIT_REF=refs/tags/v1.2.3", "DRONE_TAG=v1.2.3"}
	auto := append(onTag, "PLUGIN_AUTO_TAG=true")
	return map[string]effect{
		"REPO":            {set: "{registry}/acme/other", want: "PUT /v2/acme/other/manifests/latest"},
		"DRY_RUN":         {set: "true", want: "none: PLUGIN_DRY_RUN is set"},
		"TAGS":            {set: "1.2", want: "/manifests/1.2 "},
		"TAGS_FILE":       {set: "tags", want: "/manifests/9.9 "},
		"AUTO_TAG":        {set: "true", with: onTag, want: "/manifests/1.2.3 "},
		"AUTO_TAG_MODE":   {set: "buildx", with: auto, want: "/manifests/latest "},
		"AUTO_TAG_SUFFIX": {set: "arm", with: auto, want: "/manifests/1.2-arm "},
		"DEFAULT_TAG":     {set: "edge", with: []string{"PLUGIN_AUTO_TAG=true"}, want: "/manifests/edge "},
	}
}

func loginEffects() map[string]effect {
	main := []string{"PLUGIN_USERNAME=ci", "PLUGIN_PASSWORD=canary", "PLUGIN_DRY_RUN=true"}
	base := []string{
		"PLUGIN_BASE_IMAGE_REGISTRY=base.example.com",
		"PLUGIN_BASE_IMAGE_USERNAME=ci",
		"PLUGIN_BASE_IMAGE_PASSWORD=canary",
	}
	const baseLogin = "login base.example.com ci"
	return map[string]effect{
		"REGISTRY":     {set: "base.example.com", with: main, own: true, want: baseLogin},
		"USERNAME":     {set: "ci", with: main[1:2], want: "by PLUGIN_USERNAME and PLUGIN_PASSWORD"},
		"PASSWORD":     {set: "canary", with: main[:1], want: "by PLUGIN_USERNAME and PLUGIN_PASSWORD"},
		"ACCESS_TOKEN": {set: "canary", want: " oauth2accesstoken"},
		"LOGINS": {
			set:  `[{"registry":"base.example.com","username":"ci","password":"canary"}]`,
			own:  true,
			want: baseLogin,
		},
		"CONFIG": {
			set:  `{"auths":{"base.example.com":{"auth":"Y2k6Y2FuYXJ5"}}}`,
			own:  true,
			want: baseLogin,
		},
		"BASE_IMAGE_REGISTRY": {set: "base.example.com", with: base[1:], own: true, want: baseLogin},
		"BASE_IMAGE_USERNAME": {set: "ci", with: []string{base[0], base[2]}, own: true, want: baseLogin},
		"BASE_IMAGE_PASSWORD": {set: "canary", with: base[:2], own: true, want: baseLogin},
		"INSECURE":            {set: "plain.example.com", own: true, want: "plain HTTP plain.example.com"},
	}
}

func sourceEffects() map[string]effect {
	return map[string]effect{
		"DOCKERFILE": {set: "app/Dockerfile", want: "/app/Dockerfile"},
		"CONTEXT":    {set: "svc", want: "/svc"},
		"TARGET":     {set: "release", want: "build target=release"},
		"ENV_FILE":   {set: "vars", want: "/manifests/7.7 "},
		"BUILD_CONTEXTS": {
			set:  "lib=svc,base=docker-image://registry.example.com/base:1",
			want: "build context:lib=local:context-lib",
		},
	}
}

func buildEffects() map[string]effect {
	several := []string{"PLUGIN_MULTIPLE_BUILD_ARGS=true", "PLUGIN_BUILD_ARGS_NEW=N=1;M=2"}
	labels := func(name string) effect {
		return effect{
			set: "true", with: []string{name + "=false"}, want: "build label:org.opencontainers.image.revision=",
		}
	}
	const cache = "registry.example.com/c:1"
	return map[string]effect{
		"BUILD_ARGS":          {set: "A=b", want: "build build-arg:A=b"},
		"BUILD_ARGS_FROM_ENV": {set: "FROM_ENV", want: "build build-arg:FROM_ENV=value-of-env"},
		"BUILD_ARGS_NEW":      {set: "N=1;M=2", with: several[:1], want: "build build-arg:M=2"},
		"MULTIPLE_BUILD_ARGS": {set: "true", with: several[1:], want: "build build-arg:M=2"},
		"SECRET":              {set: "id=npm,env=FROM_ENV", want: "build secret npm"},
		"SECRETS":             {set: "id=npm,env=FROM_ENV", want: "build secret npm"},
		"SECRETS_FROM_ENV":    {set: "npm=FROM_ENV", want: "build secret npm"},
		"SECRETS_FROM_FILE":   {set: "npm=secret.txt", want: "build secret npm"},
		"SSH_AGENT_KEY":       {set: "canary", want: "build ssh default"},
		"SSH":                 {set: "deploy=secret.txt", want: "build ssh deploy"},
		"ALLOW":               {set: "network.host", want: "build right network.host"},
		"ULIMIT":              {set: "nofile=1024:4096", want: "build ulimit=nofile=1024:4096"},
		"SHM_SIZE":            {set: "64m", want: "build shm-size=67108864"},
		"CALL":                {set: "check", want: "none: PLUGIN_CALL is set"},
		"ADD_HOST":            {set: "db:10.1.2.3", want: "build add-hosts=db=10.1.2.3"},
		"PULL_IMAGE": {
			set: "true", with: []string{"PLUGIN_PULL_IMAGE=false"}, want: "build image-resolve-mode=pull",
		},
		"NO_CACHE":        {set: "true", want: "build no-cache="},
		"NO_CACHE_FILTER": {set: "assets", want: "build no-cache=assets"},
		"HTTP_PROXY": {
			set:  "http://proxy.example.com",
			want: "build build-arg:HTTP_PROXY=http://proxy.example.com",
		},
		"HTTPS_PROXY": {
			set:  "http://proxy.example.com",
			want: "build build-arg:HTTPS_PROXY=http://proxy.example.com",
		},
		"NO_PROXY":       {set: "example.com", want: "build build-arg:NO_PROXY=example.com"},
		"CACHE_FROM":     {set: cache, want: "build cache from registry map[ref:" + cache + "]"},
		"CACHE_TO":       {set: "type=registry,ref=" + cache, want: "build cache to registry map[ref:" + cache + "]"},
		"CACHE_IMAGES":   {set: cache, want: "build cache to registry map[ignore-error:true"},
		"CACHE":          {set: "inline", want: "build cache to inline"},
		"LABEL":          {set: "a=b", want: "build label:a=b"},
		"LABEL_SCHEMA":   {set: "title=x", want: "build label:org.opencontainers.image.title=x"},
		"AUTO_LABEL":     labels("PLUGIN_AUTO_LABEL"),
		"AUTO_LABELS":    labels("PLUGIN_AUTO_LABELS"),
		"DEFAULT_LABELS": labels("PLUGIN_DEFAULT_LABELS"),
		"REPO_LINK": {
			set: "https://link.example.com", want: "build label:org.opencontainers.image.url=https://link.example.com",
		},
	}
}

func outputEffects() map[string]effect {
	return map[string]effect{
		"PLATFORM":    {set: "linux/arm64", want: "build platform=linux/arm64"},
		"PLATFORMS":   {set: "linux/arm64,linux/amd64", want: "build platform=linux/arm64,linux/amd64"},
		"COMPRESSION": {set: "zstd", want: "build export image compression=zstd"},
		"PROVENANCE":  {set: "true", want: "build attest:provenance=mode=min"},
		"SBOM":        {set: "true", want: "build attest:sbom=generator="},
		"OUTPUT":      {set: "type=oci,dest=image.tar", want: "build export oci name="},
	}
}

func builderEffects() map[string]effect {
	return map[string]effect{
		"BUILDER":     {set: "unix:///run/other.sock", want: "dial unix:///run/other.sock"},
		"BUILDER_TLS": {set: "canary", want: "error: PLUGIN_BUILDER_TLS"},
		"MIRROR": {
			set:  "https://mirror.example.com",
			own:  true,
			want: "SLIPWAY_BUILDER_MIRRORS=https://mirror.example.com",
		},
		"CUSTOM_DNS":      {set: "10.0.0.2", own: true, want: "SLIPWAY_BUILDER_DNS=10.0.0.2"},
		"REMOTE_BUILDERS": {set: "root@build.example.com", own: true, want: "error: PLUGIN_REMOTE_BUILDERS has"},
		"STATE":           {set: "/cache", own: true, want: "cache in /cache"},
		"CUSTOM_DNS_SEARCH": {
			set: "corp.example.com", own: true, want: "SLIPWAY_BUILDER_DNS_SEARCH=corp.example.com",
		},
		"BUILDKIT_CONFIG": {
			set:  "[registry.\"docker.io\"]\nmirrors = [\"mirror.example.com\"]\n",
			own:  true,
			want: "SLIPWAY_BUILDER_MIRRORS=mirror.example.com",
		},
	}
}

func reportEffects() map[string]effect {
	at := []string{"PLUGIN_BITBUCKET_URL={bitbucket}", "PLUGIN_BITBUCKET_TOKEN=canary"}
	basic := []string{at[0], "PLUGIN_BITBUCKET_USERNAME=ci@example.com", "PLUGIN_BITBUCKET_PASSWORD=canary"}
	return map[string]effect{
		"BITBUCKET_STATUS": {set: "on", with: append(at, "PLUGIN_BITBUCKET_STATUS=off"), want: "bitbucket POST"},
		"BITBUCKET_TOKEN":  {set: "canary", with: at[:1], want: "Bearer canary"},
		"BITBUCKET_USERNAME": {
			set:  "ci@example.com",
			with: []string{basic[0], basic[2]},
			want: " ci@example.com Basic",
		},
		"BITBUCKET_PASSWORD": {set: "canary", with: basic[:2], want: " ci@example.com Basic"},
		"BITBUCKET_URL":      {set: "{bitbucket}", with: at[1:], plan: true, want: " at http://127.0.0.1"},
		"BITBUCKET_KEY":      {set: "key-of-step", with: at, want: "key-of-step"},
		"ARTIFACT_FILE":      {set: "out.json", want: `file out.json {"kind":"docker/v1"`},
		"REGISTRY_TYPE": {
			set:  "GCR",
			with: []string{"PLUGIN_ARTIFACT_FILE=out.json"},
			want: `"registryType":"GCR"`,
		},
		"METADATA_FILE": {set: "out.json", want: `file out.json {"containerimage.digest"`},
		"DIGEST_FILE":   {set: "digest", want: "file digest sha256:"},
		"QUIET":         {set: "false", with: []string{"PLUGIN_QUIET=true"}, want: "#1 building"},
		"DEBUG":         {set: "true", want: "(PLUGIN_DEBUG)"},
	}
}

func copyEffects(t *testing.T) map[string]effect {
	t.Helper()
	private, _ := keyPair(t)
	key, password := "PLUGIN_COSIGN_PRIVATE_KEY="+private, "PLUGIN_COSIGN_PASSWORD=sesame-canary"
	const image = "base.example.com/acme/base:1"
	return map[string]effect{
		"PUSH_ONLY": {set: "true", plan: true, want: "would copy "},
		"SOURCE_IMAGE": {
			set:  image,
			with: []string{"PLUGIN_PUSH_ONLY=true"},
			plan: true,
			want: "would copy " + image,
		},
		"COSIGN_PRIVATE_KEY": {set: private, with: []string{password}, want: "signed "},
		"COSIGN_PASSWORD":    {set: "sesame-canary", with: []string{key}, want: "signed "},
		"COSIGN_PARAMS":      {set: "-a build=7", with: []string{key, password}, want: `"build":"7"`},
	}
}

func amazonEffects() map[string]effect {
	keyID := "PLUGIN_AWS_ACCESS_KEY_ID=" + ecrtest.KeyID
	secret := "PLUGIN_AWS_SECRET_ACCESS_KEY=" + ecrtest.Secret
	with := func(set, want string, with ...string) effect {
		return effect{set: set, with: with, ecr: true, want: want}
	}
	const create = "PLUGIN_ECR_CREATE_REPOSITORY=true"
	return map[string]effect{
		"AWS_ACCESS_KEY_ID":     with(ecrtest.KeyID, "amazon GetAuthorizationToken", secret),
		"AWS_SECRET_ACCESS_KEY": with(ecrtest.Secret, "amazon GetAuthorizationToken", keyID),
		"AWS_REGION":            with("us-gov-east-1", "error: PLUGIN_AWS_REGION", keyID, secret),
		"ECR_CREATE_REPOSITORY": with("true", "amazon CreateRepository", keyID, secret),
		"ECR_LIFECYCLE_POLICY":  with("policy.json", "amazon PutLifecyclePolicy", keyID, secret, create),
		"ECR_REPOSITORY_POLICY": with("policy.json", "amazon SetRepositoryPolicy", keyID, secret, create),
		"ECR_SCAN_ON_PUSH":      with("true", "scan on push: true", keyID, secret, create),
	}
}

func kanikoEffects() map[string]effect {
	tarOf := []string{"PLUGIN_PUSH_ONLY=true"}
	return map[string]effect{
		"EXPAND_REPO": {
			set: "true", with: []string{"PLUGIN_REPO=acme/other", "PLUGIN_REGISTRY={registry}"}, plan: true,
			want: "would push 127.0.0.1",
		},
		"EXPAND_TAG":   {set: "true", with: []string{"PLUGIN_TAGS=v1.2.3"}, want: "/manifests/1.2.3 "},
		"DESTINATIONS": {set: "{registry}/acme/other:5", want: "PUT /v2/acme/other/manifests/5 "},
		"EXTRA_OPTS":   {set: "--label=a=b", want: "build label:a=b"},
		"ENABLE_CACHE": {set: "true", want: "build cache to registry"},
		"CACHE_REPO": {
			set:  "registry.example.com/cache",
			with: []string{"PLUGIN_ENABLE_CACHE=true"},
			want: "ref:registry.example.com/cache:",
		},
		"CONTEXT_SUB_PATH":  {set: "svc", want: "/svc"},
		"REPRODUCIBLE":      {set: "true", want: "build export image rewrite-timestamp=true"},
		"JSON_KEY":          {set: `{"type":"service_account"}`, want: " _json_key"},
		"TAR_PATH":          {set: "image.tar", want: "build export docker name="},
		"SOURCE_TAR_PATH":   {set: "out/image.tar", with: tarOf, plan: true, want: "would copy out/image.tar"},
		"SKIP_TLS_VERIFY":   {set: "true", own: true, want: "plain HTTP 127.0.0.1"},
		"INSECURE_REGISTRY": {set: "plain.example.com", own: true, want: "plain HTTP plain.example.com"},
		"REGISTRY_CERTIFICATE": {
			set:  "r.example.com=ca.pem",
			own:  true,
			want: "certificate r.example.com/setting-0.crt authority",
		},
		"IMAGE_NAME_WITH_DIGEST_FILE": {
			set: "names", want: "/acme/app@sha256:",
		},
		"IMAGE_NAME_TAG_WITH_DIGEST_FILE": {set: "names", want: "/acme/app:latest@sha256:"},
		"SKIP_TLS_VERIFY_PULL": {
			set: "true", own: true, with: []string{"PLUGIN_BASE_IMAGE_REGISTRY=base.example.com"},
			want: "plain HTTP base.example.com",
		},
		"REGISTRY_CLIENT_CERT": {
			set: "r.example.com=ca.pem,key.pem", own: true, want: "certificate r.example.com/setting-0.key key",
		},
	}
}

// Every attribute that a setting accepts has an effect.
func TestEveryAttributeHasAnEffect(t *testing.T) {
	effects := effectsOfAttributes()
	for setting, attributes := range settings.Attributes() {
		for _, attribute := range attributes {
			name := strings.TrimPrefix(setting, "PLUGIN_") + "/" + attribute
			t.Run(name, func(t *testing.T) {
				e, listed := effects[name]
				if !listed {
					t.Fatalf("%s: got no effect in this test, want one: add it to effectsOfAttributes", name)
				}
				checkEffect(t, e, setting+"="+e.set)
			})
		}
	}
}

func effectsOfAttributes() map[string]effect {
	npm := func(set string) effect { return effect{set: set, want: "build secret npm"} }
	registry := func(set, want string) effect {
		return effect{set: "[registry.\"r.example.com\"]\n" + set, own: true, want: want}
	}
	output := func(set, want string) effect { return effect{set: set, want: "build export image " + want} }
	all := map[string]effect{
		"OUTPUT/type":              {set: "type=oci,dest=image.tar", want: "build export oci name="},
		"OUTPUT/dest":              {set: "type=oci,dest=image.tar", want: "  file        image.tar, of type oci"},
		"OUTPUT/push":              {set: "type=image,push=false", want: "none: PLUGIN_OUTPUT is set"},
		"OUTPUT/compression":       output("type=image,compression=zstd", "compression=zstd"),
		"OUTPUT/compression-level": output("type=image,compression-level=3", "compression-level=3"),
		"OUTPUT/force-compression": output("type=image,force-compression=true", "force-compression=true"),
		"OUTPUT/rewrite-timestamp": output("type=image,rewrite-timestamp=true", "rewrite-timestamp=true"),
		"OUTPUT/oci-mediatypes": {
			set: "type=image,oci-mediatypes=true", with: []string{"PLUGIN_AUTO_LABEL=false"},
			want: "build export image oci-mediatypes=true",
		},
		"SECRET/id":                npm("id=npm,env=FROM_ENV"),
		"SECRET/env":               npm("id=npm,env=FROM_ENV"),
		"SECRET/type":              npm("id=npm,type=env,src=FROM_ENV"),
		"SECRET/src":               npm("id=npm,src=secret.txt"),
		"SECRET/source":            npm("id=npm,source=secret.txt"),
		"BUILDKIT_CONFIG/mirrors":  registry(`mirrors = ["m.example.com"]`, "MIRRORS=r.example.com=m.example.com"),
		"BUILDKIT_CONFIG/http":     registry("http = true", "plain HTTP r.example.com"),
		"BUILDKIT_CONFIG/insecure": registry("insecure = true", "plain HTTP r.example.com"),
		"BUILDKIT_CONFIG/ca":       registry(`ca = ["ca.pem"]`, "certificate r.example.com/setting-0.crt authority"),
		"BUILDKIT_CONFIG/keypair": registry(
			"[[registry.\"r.example.com\".keypair]]\nkey = \"key.pem\"\ncert = \"ca.pem\"",
			"certificate r.example.com/setting-0.key key",
		),
	}
	for attribute, value := range map[string]string{
		"registry/ref": "r.example.com/c:1", "registry/registry.insecure": "true",
		"local/src": "/cache", "local/tag": "t", "local/digest": "sha256:" + strings.Repeat("0", 64),
	} {
		all["CACHE_FROM/"+attribute] = cacheEffect("from", attribute, value)
	}
	for attribute, value := range map[string]string{
		"mode": "max", "ignore-error": "true", "image-manifest": "true", "oci-mediatypes": "true", "compression": "zstd",
		"compression-level": "3", "force-compression": "true",
	} {
		all["CACHE_TO/registry/"+attribute] = cacheEffect("to", "registry/"+attribute, value)
		all["CACHE_TO/local/"+attribute] = cacheEffect("to", "local/"+attribute, value)
	}
	for attribute, value := range map[string]string{
		"registry/ref": "r.example.com/c:1", "registry/registry.insecure": "true",
		"local/dest": "/cache", "local/tag": "t", "local/reset": "true", "inline/ignore-error": "true",
	} {
		all["CACHE_TO/"+attribute] = cacheEffect("to", attribute, value)
	}
	return all
}

// cacheEffect returns the effect of an attribute of a cache: kind/name.
func cacheEffect(direction, attribute, value string) effect {
	kind, name, _ := strings.Cut(attribute, "/")
	place := map[string]string{"from": "src", "to": "dest"}[direction]
	needed := map[string]string{"registry": "ref=r.example.com/c:1", "local": place + "=/cache"}[kind]
	set := "type=" + kind
	if needed != "" {
		set += "," + needed
	}
	if !strings.HasPrefix(needed, name+"=") {
		set += "," + name + "=" + value
	}
	return effect{set: set, want: name + ":" + value}
}
