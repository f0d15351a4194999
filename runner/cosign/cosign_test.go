package cosign_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"slipway/config/secret"
	"slipway/runner/cosign"
	"slipway/runner/registry"
)

const digest = "sha256:4f1d0c8a4f1d0c8a4f1d0c8a4f1d0c8a4f1d0c8a4f1d0c8a4f1d0c8a4f1d0c8a"

func serve(t *testing.T) (image string) {
	t.Helper()
	server := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://") + "/acme/app"
}

func encode(t *testing.T, private any) secret.Secret {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return secret.New(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

// A found signature is read as any registry client reads it, without cosign's code.
type found struct {
	sig      []byte
	payload  []byte
	document struct {
		Critical struct {
			Identity struct {
				Reference string `json:"docker-reference"`
			} `json:"identity"`
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
			Type string `json:"type"`
		} `json:"critical"`
		Optional map[string]string `json:"optional"`
	}
}

func signatures(t *testing.T, image string) (all []found) {
	t.Helper()
	host, repo, _ := strings.Cut(image, "/")
	get := func(path string) []byte {
		resp, err := http.Get("http://" + host + "/v2/" + repo + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("GET %s: got %s, error %v, want 200", path, resp.Status, err)
		}
		return text
	}
	var manifest struct {
		MediaType string
		Config    struct{ MediaType, Digest string }
		Layers    []struct {
			MediaType, Digest string
			Annotations       map[string]string
		}
	}
	if err := json.Unmarshal(
		get("/manifests/sha256-"+strings.TrimPrefix(digest, "sha256:")+".sig"),
		&manifest,
	); err != nil {
		t.Fatal(err)
	}
	if manifest.MediaType != "application/vnd.oci.image.manifest.v1+json" ||
		manifest.Config.MediaType != "application/vnd.oci.image.config.v1+json" {
		t.Errorf("manifest: got %+v, want the OCI media types", manifest)
	}
	get("/blobs/" + manifest.Config.Digest)
	for _, layer := range manifest.Layers {
		one := found{payload: get("/blobs/" + layer.Digest)}
		var err error
		if one.sig, err = base64.StdEncoding.DecodeString(
			layer.Annotations["dev.cosignproject.cosign/signature"],
		); err != nil {
			t.Error(err)
		}
		if layer.MediaType != "application/vnd.dev.cosign.simplesigning.v1+json" ||
			layer.Digest != fmt.Sprintf("sha256:%x", sha256.Sum256(one.payload)) {
			t.Errorf("layer: got %+v, want the media type of cosign and the payload's digest", layer)
		}
		if err := json.Unmarshal(one.payload, &one.document); err != nil {
			t.Error(err)
		}
		all = append(all, one)
	}
	return all
}

// Go's own packages verify a signature by each kind of key that cosign supports.
func TestAttachSignsWithEachKindOfKey(t *testing.T) {
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	large, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for kind, c := range map[string]struct {
		private any
		right   func(payload, sig []byte) bool
	}{
		"ECDSA": {curve, func(payload, sig []byte) bool {
			sum := sha256.Sum256(payload)
			return ecdsa.VerifyASN1(&curve.PublicKey, sum[:], sig)
		}},
		"RSA": {large, func(payload, sig []byte) bool {
			sum := sha256.Sum256(payload)
			return rsa.VerifyPKCS1v15(&large.PublicKey, crypto.SHA256, sum[:], sig) == nil
		}},
		"Ed25519": {edwards, func(payload, sig []byte) bool {
			return ed25519.Verify(edwards.Public().(ed25519.PublicKey), payload, sig)
		}},
	} {
		t.Run(kind, func(t *testing.T) {
			image := serve(t)
			key, err := cosign.ParseKey(encode(t, c.private), secret.Secret{})
			if err != nil {
				t.Fatal(err)
			}
			annotations := map[string]string{"build": "7"}
			if err := cosign.Attach(
				t.Context(),
				registry.New(registry.Options{}),
				image,
				digest,
				key,
				annotations,
				registry.Login{},
			); err != nil {
				t.Fatal(err)
			}
			all := signatures(t, image)
			if len(all) != 1 || !c.right(all[0].payload, all[0].sig) {
				t.Fatalf("signatures: got %d, want one valid signature", len(all))
			}
			d := all[0].document
			switch {
			case d.Critical.Identity.Reference != image:
				t.Errorf("reference in the payload: got %q, want %q", d.Critical.Identity.Reference, image)
			case d.Critical.Image.Digest != digest:
				t.Errorf("digest in the payload: got %q, want %q", d.Critical.Image.Digest, digest)
			case d.Critical.Type != "cosign container image signature":
				t.Errorf("type of the payload: got %q, want cosign container image signature", d.Critical.Type)
			}
			if diff := cmp.Diff(annotations, d.Optional); diff != "" {
				t.Errorf("annotations (-want +got):\n%s", diff)
			}
		})
	}
}

// cosign generate-key-pair writes PKCS 8, encrypted with scrypt and a secret box.
func TestParseKeyReadsKeysOfCosign(t *testing.T) {
	for _, password := range []string{"", "right"} {
		text, _, err := cryptoutils.GeneratePEMEncodedECDSAKeyPair(
			elliptic.P256(),
			cryptoutils.StaticPasswordFunc([]byte(password)),
		)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "BEGIN ENCRYPTED SIGSTORE PRIVATE KEY") {
			t.Fatal("key file: got another format, want an encrypted Sigstore key")
		}
		older := strings.ReplaceAll(string(text), "SIGSTORE", "COSIGN")
		for _, form := range []string{string(text), "\n" + older + "\n"} {
			if _, err := cosign.ParseKey(secret.New(form), secret.New(password)); err != nil {
				t.Errorf("with the password %q: %v", password, err)
			}
		}
		if _, err := cosign.ParseKey(
			secret.New(string(text)),
			secret.New("wrong"),
		); !errors.Is(
			err,
			cosign.ErrPassword,
		) {
			t.Errorf("wrong password: got error %v, want %v", err, cosign.ErrPassword)
		}
	}
	for _, text := range []string{"", "canary", "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n", "-----BEGIN PUBLIC KEY-----\nY2FuYXJ5\n-----END PUBLIC KEY-----\n"} {
		if _, err := cosign.ParseKey(
			secret.New(text),
			secret.New("canary"),
		); !errors.Is(err, cosign.ErrKey) ||
			strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: got error %v, want %v without the password", text, err, cosign.ErrKey)
		}
	}
}

func newKey(t *testing.T) *cosign.Key {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := cosign.ParseKey(encode(t, private), secret.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestAttachKeepsOtherSignaturesAndIsIdempotent(t *testing.T) {
	image, ours, theirs := serve(t), newKey(t), newKey(t)
	c := registry.New(registry.Options{})
	for i, step := range []struct {
		key         *cosign.Key
		annotations map[string]string
		want        int
	}{
		{ours, nil, 1},
		{ours, nil, 1}, // the same build again
		{theirs, nil, 2},
		{ours, map[string]string{"build": "8"}, 3},
		{theirs, nil, 3},
	} {
		if err := cosign.Attach(
			t.Context(),
			c,
			image,
			digest,
			step.key,
			step.annotations,
			registry.Login{},
		); err != nil {
			t.Fatal(err)
		}
		if got := signatures(t, image); len(got) != step.want {
			t.Errorf("signatures after step %d: got %d, want %d", i, len(got), step.want)
		}
	}
	if err := cosign.Attach(t.Context(), c, "A B", digest, ours, nil, registry.Login{}); err == nil {
		t.Error("sign an invalid name: got no error, want one")
	}
}
