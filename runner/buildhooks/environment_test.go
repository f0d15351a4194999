package buildhooks_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"slipway/config/secret"
	"slipway/runner/buildhooks"
	"slipway/runner/spec"
)

func example() spec.Spec {
	return spec.Spec{
		Image:      "registry.example.com/acme/app",
		Tags:       []string{"1.2", "1", "latest"},
		Dockerfile: "svc/Dockerfile.prod",
		Caching:    true,
		Source: spec.Source{
			RefName: "v1.2",
			Commit:  strings.Repeat("a", 40),
			Message: "Say \"1.2\"\n\nit's $(id) `id`\n",
		},
		Environment: map[string]secret.Secret{
			"NPM_MODE": secret.New("ci"),
		},
	}
}

// B6 and R1: a hook gets exactly these variables. A commit message of several lines is unchanged.
func TestB6Environment(t *testing.T) {
	env, err := buildhooks.Environment(example(), buildhooks.Base{
		Path: "/usr/bin:/bin",
		Home: "/home/empty",
		Temp: "/home/temporary",
	})
	if err != nil {
		t.Fatal(err)
	}
	h := find(t, map[buildhooks.Name]string{buildhooks.Build: "#!/bin/sh\nexec env -0\n"})
	out, err := run(t, h, buildhooks.Build, env...)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSuffix(out, "\x00"), "\x00")
	got = slices.DeleteFunc(
		got,
		func(line string) bool { return strings.HasPrefix(line, "PATH=") || strings.HasPrefix(line, "PWD=") },
	)
	slices.Sort(got)
	want := []string{
		"CACHE_TAG=1.2",
		"COMMIT_MSG=Say \"1.2\"\n\nit's $(id) `id`\n",
		"DOCKERFILE_PATH=Dockerfile.prod",
		"DOCKER_REPO=registry.example.com/acme/app",
		"DOCKER_TAG=1.2,1,latest",
		"HOME=/home/empty",
		"IMAGE_NAME=registry.example.com/acme/app:1.2",
		"LANG=C.UTF-8",
		"NPM_MODE=ci",
		"SOURCE_BRANCH=v1.2",
		"SOURCE_COMMIT=" + strings.Repeat("a", 40),
		"TMPDIR=/home/temporary",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

func TestEnvironmentWithoutCacheAndTags(t *testing.T) {
	s := example()
	s.Caching = false
	env, err := buildhooks.Environment(s, buildhooks.Base{})
	if err != nil || !slices.Contains(env, "CACHE_TAG=") {
		t.Errorf("environment without caching: got %q, error %v, want an empty CACHE_TAG", env, err)
	}
	s.Tags = nil
	env, err = buildhooks.Environment(s, buildhooks.Base{})
	if err != nil || !slices.Contains(env, "IMAGE_NAME=registry.example.com/acme/app:aaaaaaaaaaaa") {
		t.Errorf("environment without tags: got %q, error %v, want IMAGE_NAME with the short commit", env, err)
	}
}

func TestHooksThatPushFindTheDockerConfiguration(t *testing.T) {
	env, err := buildhooks.Environment(example(), buildhooks.Base{
		DockerConfig: buildhooks.DockerConfig{Dir: "/tmp/x", Content: secret.New(`{"auths":{}}`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"DOCKER_CONFIG=/tmp/x", `DOCKERCFG={"auths":{}}`} {
		if !slices.Contains(env, want) {
			t.Errorf("environment: got %q, want %s in it", env, want)
		}
	}
}

// O7: for any commit message, a hook gets the same number of variables.
func TestO7NothingAddsAVariable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := example()
		s.Source.Message = rapid.String().Draw(t, "message")
		s.Source.RefName = rapid.String().Draw(t, "ref")
		env, err := buildhooks.Environment(s, buildhooks.Base{Path: "/bin", Home: "/"})
		if err != nil || len(env) != 12 {
			t.Fatalf("environment: got %d variables, error %v, want 12", len(env), err)
		}
		for _, line := range env {
			if strings.HasPrefix(line, "COMMIT_MSG=") && strings.Contains(line, "\x00") {
				t.Fatalf("COMMIT_MSG: got %q, want no NUL, because it ends the variable", line)
			}
		}
	})
}

func TestO7ReservedNames(t *testing.T) {
	for _, name := range []string{
		"LD_PRELOAD", "ld_library_path", "PATH", "BASH_ENV", "ENV", "GIT_SSH_COMMAND", "PLUGIN_TAGS", "SLIPWAY_RUNNER_TOKEN",
		"IMAGE_NAME", "DOCKER_CONFIG", "IFS", "A=B", "A B", "1A", "", "BASH_FUNC_ls%%",
	} {
		s := example()
		s.Environment = map[string]secret.Secret{name: secret.New("canary")}
		_, err := buildhooks.Environment(s, buildhooks.Base{})
		switch {
		case err == nil:
			t.Errorf("%s: got no error, want one", name)
		case !strings.Contains(err.Error(), name):
			t.Errorf("%s: got error %v, want the name in it", name, err)
		case strings.Contains(err.Error(), "canary"):
			t.Errorf("%s: got error %v, want no value in it", name, err)
		}
	}
}

func TestDockerConfigIsForThisUserOnly(t *testing.T) {
	dir := t.TempDir()
	credential := spec.Credential{Username: "u", Password: secret.New("p")}
	config, err := buildhooks.WriteDockerConfig(dir, []spec.RegistryCredential{
		{Host: "registry.example.com:5000/acme", Credential: credential}, {Host: "docker.io", Credential: credential},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "config.json")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the file: got %v, error %v, want -rw-------", info.Mode(), err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if config.Dir != dir {
		t.Errorf("directory: got %s, want %s", config.Dir, dir)
	}
	if config.Content.Reveal() != string(content) {
		t.Error("content: got another text, want the file's")
	}
	var got, want any
	if err := json.Unmarshal(content, &got); err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal(
		[]byte(`{"auths":{"registry.example.com:5000":{"auth":"dTpw"},"https://index.docker.io/v1/":{"auth":"dTpw"}}}`),
		&want,
	)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("credentials (-want +got):\n%s", diff)
	}
	if _, err := buildhooks.WriteDockerConfig(filepath.Join(dir, "none"), nil); err == nil {
		t.Error("write to a folder that does not exist: got no error, want one")
	}
}
