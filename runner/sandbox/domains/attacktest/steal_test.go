package attacktest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/sshforward/sshprovider"
	"golang.org/x/crypto/ssh"
)

// In this file the attacker tries to read data that only the victim may read.

func stealResultOfSecret(ctx context.Context, w world) (bool, error) {
	const mount = "--mount=type=secret,id=token,required=true "
	b := build{dockerfile: w.dockerfile(mount + "cp /run/secrets/token /got")}
	victim := b
	victim.secrets = map[string]string{"token": "s3cret"}
	return w.steal(ctx, victim, b, "s3cret")
}

func stealResultOfSSH(ctx context.Context, w world) (bool, error) {
	agent, err := newAgent()
	if err != nil {
		return false, err
	}
	b := build{dockerfile: w.dockerfile(
		"--mount=type=ssh,required=true test -S $SSH_AUTH_SOCK && echo by-ssh > /got")}
	victim := b
	victim.ssh = agent
	return w.steal(ctx, victim, b, "by-ssh")
}

func stealImageByDigest(ctx context.Context, w world) (bool, error) {
	return w.stealImage(ctx, w.private.repository+"@"+w.private.digest)
}

// The registry is asked for the digest of a tag, and refuses.
func stealImageByTag(ctx context.Context, w world) (bool, error) {
	return w.stealImage(ctx, w.private.repository+":1")
}

func (w world) stealImage(ctx context.Context, image string) (bool, error) {
	b := build{dockerfile: w.dockerfileFrom(image, "cp /etc/note /got")}
	victim := b
	victim.login = w.private.login
	return w.steal(ctx, victim, b, "confidential")
}

// The attacker's own registry has a manifest with the digests of the victim's layers, and no layer. An
// SBOM or the provenance of an image contains such digests.
func stealLayers(ctx context.Context, w world) (bool, error) {
	victim := build{
		dockerfile: w.dockerfileFrom(w.private.repository+"@"+w.private.digest, "cp /etc/note /got"),
		login:      w.private.login,
	}
	if _, err := victim.run(ctx, w.victim); err != nil {
		return false, err
	}
	ref, err := name.ParseReference(w.private.repository + "@" + w.private.digest)
	if err != nil {
		return false, err
	}
	auth := &authn.Basic{Username: w.private.login.user, Password: w.private.login.password}
	image, err := remote.Image(ref, remote.WithContext(ctx), remote.WithAuth(auth))
	if err != nil {
		return false, err
	}
	manifest, err := image.Manifest()
	if err != nil {
		return false, err
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return false, err
	}
	manifest = manifest.DeepCopy()
	manifest.Annotations = map[string]string{"a": "b"} // so that the builder does not know its digest
	text, err := json.Marshal(manifest)
	if err != nil {
		return false, err
	}
	layers := 0
	registry := httptest.NewServer(
		serveManifest(text, config, string(manifest.MediaType), manifest.Config.Digest.String(), &layers))
	defer registry.Close()
	copied := strings.TrimPrefix(registry.URL, "http://") + "/x:1"
	return w.attackerGets(ctx, build{dockerfile: w.dockerfileFrom(copied, "cp /etc/note /got")}, "confidential")
}

// A commit is read from the cache although its server refuses the attacker, or is gone.
func stealCommit(ctx context.Context, w world) (bool, error) {
	dir, err := os.MkdirTemp("", "attack-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	commit, err := newRepository(ctx, filepath.Join(dir, "r.git"), "confidential")
	if err != nil {
		return false, err
	}
	handler, err := serveGit(ctx, dir)
	if err != nil {
		return false, err
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	b := build{dockerfile: "FROM " + w.base + " AS x\nADD " + server.URL + "/r.git#" + commit + " /src\n" +
		"RUN cp /src/note /got\nFROM scratch\nCOPY --from=x /got /got\n"}
	if _, err := b.run(ctx, w.victim); err != nil {
		return false, err
	}
	server.Close()
	return w.attackerGets(ctx, b, "confidential")
}

// newAgent returns an SSH agent with a new key.
func newAgent() (session.Attachable, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "attack-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) // the agent has read it
	path := filepath.Join(dir, "key")
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return nil, err
	}
	return sshprovider.NewSSHAgentProvider([]sshprovider.AgentConfig{{Paths: []string{path}}})
}
