package buildkit_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"slipway/config/secret"
	"slipway/runner/buildkit"
	"slipway/runner/spec"
)

// sshKey returns a private key in OpenSSH's format.
func sshKey(t *testing.T) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block))
}

// RUN can mount secrets and the ssh agent. No layer contains them.
func TestSecretsAnAgentHostsAndProxiesReachRUN(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	r := request(withShell(t, write(t, map[string]string{"Dockerfile": "# syntax=docker/dockerfile:1\n" + shellStage +
		"RUN --mount=type=secret,id=npm [ \"$(busybox cat /run/secrets/npm)\" = can\"\"ary-npm ]\n" +
		"RUN --mount=type=secret,id=npm,env=NPM [ \"$NPM\" = can\"\"ary-npm ]\n" +
		"RUN --mount=type=ssh [ -S \"$SSH_AUTH_SOCK\" ]\n" +
		"RUN busybox grep -q '^10.1.2.3.*db' /etc/hosts && busybox grep -q '^fe80::1.*six' /etc/hosts\n" +
		"RUN [ \"$HTTP_PROXY\" = http://ci:can\"\"ary-proxy@proxy ]\n" +
		"RUN [ ! -e /run/secrets/npm ] && [ -z \"$SSH_AUTH_SOCK\" ]\n"})))
	proxy := secret.New("http://ci:canary-proxy@proxy")
	r.Options = spec.BuildOptions{
		Secrets: []spec.BuildSecret{{ID: "npm", Value: secret.New("canary-npm")}},
		SSHKey:  secret.New(sshKey(t)),
		Hosts: []spec.Host{
			{Name: "db", Address: netip.MustParseAddr("10.1.2.3")},
			{Name: "six", Address: netip.MustParseAddr("fe80::1")},
		},
		Proxies: []spec.Proxy{{Name: "HTTP_PROXY", Value: proxy}, {Name: "http_proxy", Value: proxy}},
		Pull:    true,
	}
	r.Image = serveRegistry(t) + "/acme/app"
	built := build(t, client, r)
	if err := client.Push(t.Context(), r, built.Digest); err != nil {
		t.Fatal(err)
	}
	config, err := pull(t, r.Image, built.Digest).RawConfigFile()
	if err != nil || bytes.Contains(config, []byte("canary")) {
		t.Errorf("image config: got error %v and config %s, want no secret in it", err, config)
	}
}

// RUN mounts a key by its id.
func TestSSHKeysByID(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	r := request(withShell(t, write(t, map[string]string{"Dockerfile": shellStage +
		"RUN --mount=type=ssh,id=deploy,required=true [ -S \"$SSH_AUTH_SOCK\" ]\n"})))
	if _, err := client.Build(t.Context(), r); err == nil {
		t.Error("without a key: got no error, want one")
	}
	r.Options.SSH = []spec.SSHAgent{
		{ID: "deploy", Path: filepath.Join(write(t, map[string]string{"key": sshKey(t)}), "key")},
	}
	if err := os.Chmod(r.Options.SSH[0].Path, 0o600); err != nil {
		t.Fatal(err)
	}
	r.Options.SSHKey = secret.New(sshKey(t))
	if _, err := client.Build(t.Context(), r); err != nil {
		t.Errorf("with a key: %v", err)
	}
}

func TestTheErrorForAMissingSecretHasItsName(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	r := request(
		withShell(
			t,
			write(
				t,
				map[string]string{"Dockerfile": shellStage + "RUN --mount=type=secret,id=npm,required=true true\n"},
			),
		),
	)
	var blame *buildkit.BuildError
	if _, err := client.Build(t.Context(), r); !errors.As(err, &blame) || !strings.Contains(err.Error(), "npm") {
		t.Errorf("Build: got error %v, want a BuildError with the name of the secret", err)
	}
	r.Options.SSHKey = secret.New("canary")
	_, err := client.Build(t.Context(), r)
	if err == nil || !strings.Contains(err.Error(), "ssh_agent_key") {
		t.Fatalf("an invalid key: got %v, want an error with the name of the setting", err)
	}
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("an invalid key: got error %q, want no key in it", err)
	}
}
