package step_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"slipway/runner/runnertest"
)

// keyPair returns a key pair of cosign generate-key-pair with the password "sesame-canary".
func keyPair(t *testing.T) (private string, public *ecdsa.PublicKey) {
	t.Helper()
	text, pub, err := cryptoutils.GeneratePEMEncodedECDSAKeyPair(
		elliptic.P256(),
		cryptoutils.StaticPasswordFunc([]byte("sesame-canary")),
	)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(pub)
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), parsed.(*ecdsa.PublicKey)
}

// signed verifies the signature of a digest with the public key alone, and returns its payload.
func (e *env) signed(digest string, public *ecdsa.PublicKey) string {
	e.t.Helper()
	ref, err := name.NewTag(e.Registry.Image() + ":" + strings.Replace(digest, ":", "-", 1) + ".sig")
	if err != nil {
		e.t.Fatal(err)
	}
	image, err := remote.Image(ref)
	if err != nil {
		e.t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil {
		e.t.Fatalf("step: %v", err)
	}
	if got := len(layers); got != 1 {
		e.t.Errorf("layers: got %v, want %v", got, 1)
	}
	reader, err := layers[0].Uncompressed()
	if err != nil {
		e.t.Fatal(err)
	}
	defer reader.Close()
	payload, err := io.ReadAll(reader)
	if err != nil {
		e.t.Fatal(err)
	}
	manifest, err := image.Manifest()
	if err != nil {
		e.t.Fatal(err)
	}
	sig, err := base64.StdEncoding.DecodeString(manifest.Layers[0].Annotations["dev.cosignproject.cosign/signature"])
	sum := sha256.Sum256(payload)
	if err != nil {
		e.t.Fatalf("step: %v", err)
	}
	if !ecdsa.VerifyASN1(public, sum[:], sig) {
		e.t.Error("signature: got an invalid one, want one of this key")
	}
	return string(payload)
}

// A cluster that runs only signed images must never find an unsigned image at a tag.
func TestAnImageIsSignedBeforeATagIsAtIt(t *testing.T) {
	e := newEnv(t)
	private, public := keyPair(t)
	var order []string
	e.Registry.Intercept(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if _, what, found := strings.Cut(r.URL.Path, "/manifests/"); found && r.Method == http.MethodPut {
			order = append(order, what[max(0, len(what)-4):])
		}
		next.ServeHTTP(rw, r)
	})
	log, err := e.run(
		"PLUGIN_TAGS=v1.2",
		"PLUGIN_COSIGN_PRIVATE_KEY="+private,
		"PLUGIN_COSIGN_PASSWORD=sesame-canary",
		"PLUGIN_COSIGN_PARAMS=-a build=7",
	)
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	runnertest.CheckLacks(t, "the log", log, "canary")
	runnertest.CheckLacks(t, "the log", log, "PRIVATE KEY")
	digest := e.Registry.Tag("v1.2")
	payload := e.signed(digest, public)
	runnertest.CheckHas(t, "payload", payload, digest)
	runnertest.CheckHas(t, "payload", payload, `"docker-reference":"`+e.Registry.Image()+`"`)
	runnertest.CheckHas(t, "payload", payload, `"optional":{"build":"7"}`)
	if got := strings.Join(order, " "); got != digest[len(digest)-4:]+" .sig v1.2" {
		t.Errorf("order of the pushes: got %s, want image, signature, tag", got)
	}
	if !strings.Contains(log, "signed "+e.Registry.Image()+"@"+digest) {
		t.Errorf("log: got:\n%s\nwant the line about the signature in it", log)
	}
}

func TestAnImageThatIsOnlyPushedIsSignedWithAKeyInAFile(t *testing.T) {
	e := newEnv(t)
	private, public := keyPair(t)
	digest := e.Registry.Put("candidate", "tested")
	dir := runnertest.Workspace(t, map[string]string{"cosign.key": private})
	log, err := e.run(
		"CI_WORKSPACE="+dir,
		"PLUGIN_PUSH_ONLY=true",
		"PLUGIN_SOURCE_IMAGE="+e.Registry.Image()+":candidate",
		"PLUGIN_TAGS=1.2",
		"PLUGIN_COSIGN_PRIVATE_KEY=cosign.key",
		"PLUGIN_COSIGN_PASSWORD=sesame-canary",
	)
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	if got := e.Registry.Tag("1.2"); got != digest {
		t.Errorf("tag 1.2: got %v, want %v", got, digest)
	}
	runnertest.CheckHas(t, "e.signed(digest, public)", e.signed(digest, public), `"optional":null`)
}

func TestARefusedSignaturePreventsTags(t *testing.T) {
	e := newEnv(t)
	private, _ := keyPair(t)
	e.Registry.Intercept(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, ".sig") {
			rw.WriteHeader(http.StatusForbidden)
			return
		}
		next.ServeHTTP(rw, r)
	})
	_, err := e.run("PLUGIN_COSIGN_PRIVATE_KEY="+private, "PLUGIN_COSIGN_PASSWORD=sesame-canary")
	if err == nil {
		t.Fatal("step: got no error, want one")
	}
	runnertest.CheckHas(t, "the error", err.Error(), "the image was not signed, so no tag was pushed")
	if got := e.Registry.Tag("latest"); got != "" {
		t.Errorf("tag latest: got %q, want %q", got, "")
	}
}

func TestAKeyThatCannotSignIsFoundBeforeTheBuild(t *testing.T) {
	e := newEnv(t)
	private, _ := keyPair(t)
	for want, environ := range map[string][]string{
		"PLUGIN_COSIGN_PASSWORD is not set, and PLUGIN_COSIGN_PRIVATE_KEY is encrypted": {"PLUGIN_COSIGN_PRIVATE_KEY=" + private},
		"PLUGIN_COSIGN_PASSWORD is not the password of the key":                         {"PLUGIN_COSIGN_PRIVATE_KEY=" + private, "PLUGIN_COSIGN_PASSWORD=canary"},
		"PLUGIN_COSIGN_PRIVATE_KEY is not a readable private key":                       {"PLUGIN_COSIGN_PRIVATE_KEY=-----BEGIN canary"},
		"nor the path of a readable file":                                               {"PLUGIN_COSIGN_PRIVATE_KEY=canary"},
	} {
		log, err := e.run(environ...)
		if err == nil {
			t.Errorf("step: got no error, want one\n%s", log)
			continue
		}
		runnertest.CheckHas(t, "the error", err.Error(), want)
		runnertest.CheckLacks(t, "the log and the error", log+err.Error(), "canary")
	}
	if len(e.Builder.Requests) != 0 {
		t.Errorf("builds of an image that cannot be signed: got %d, want 0", len(e.Builder.Requests))
	}
	// If nothing is pushed, nothing is signed, so the key does not matter.
	log, err := e.run("PLUGIN_DRY_RUN=true", "PLUGIN_COSIGN_PRIVATE_KEY="+private)
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	runnertest.CheckHas(t, "the log", log, "would sign it with PLUGIN_COSIGN_PRIVATE_KEY")
}
