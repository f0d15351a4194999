package spec_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/secret"
	"slipway/runner/spec"
)

func TestSpecRoundTrip(t *testing.T) {
	want := valid()
	var wire bytes.Buffer
	if err := spec.EncodeSpec(&wire, want); err != nil {
		t.Fatal(err)
	}
	got, err := spec.DecodeSpec(&wire)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(secret.Secret.Equal)); diff != "" {
		t.Errorf("decoded spec (-want +got):\n%s", diff)
	}
}

func TestPlainJSONHoldsNoSecret(t *testing.T) {
	plain, err := json.Marshal(valid())
	if err != nil {
		t.Fatal(err)
	}
	shown := string(plain) + fmt.Sprintf("%v %+v %#v", valid(), valid(), valid())
	for _, canary := range []string{"registry-canary", "environment-canary", "builder-canary"} {
		if strings.Contains(shown, canary) {
			t.Errorf("printed spec: got %s, want no secret %s in it", shown, canary)
		}
	}
}

func TestDecodeSpecBounds(t *testing.T) {
	endless := strings.NewReader(`{"build_id":"` + strings.Repeat("x", spec.MaxBody) + `"}`)
	if _, err := spec.DecodeSpec(endless); err == nil {
		t.Error("spec larger than MaxBody: got no error, want one")
	}
	if _, err := spec.DecodeSpec(strings.NewReader("<html>")); err == nil {
		t.Error("spec of HTML: got no error, want one")
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("pipe closed") }

func TestEncodeSpecReturnsTheErrorOfTheWriter(t *testing.T) {
	if err := spec.EncodeSpec(brokenWriter{}, valid()); err == nil || !strings.Contains(err.Error(), "b1") {
		t.Errorf("EncodeSpec: got error %v, want the build's ID in it", err)
	}
}

// For any input, a decoded spec is valid or rejected, and encodes to the same spec again.
func FuzzDecodeSpec(f *testing.F) {
	var seed bytes.Buffer
	if err := spec.EncodeSpec(&seed, valid()); err != nil {
		f.Fatal(err)
	}
	f.Add(seed.Bytes())
	f.Add([]byte(`{"git":{"password":1}}`))
	f.Add([]byte(`{"source":{"ref":"refs/heads/--upload-pack=x"},"tags":["-"],"context":"../.."}`))
	f.Fuzz(func(t *testing.T, wire []byte) {
		s, err := spec.DecodeSpec(bytes.NewReader(wire))
		if err != nil || s.Validate() != nil {
			return
		}
		var again bytes.Buffer
		if err := spec.EncodeSpec(&again, s); err != nil {
			t.Fatal(err)
		}
		if got, err := spec.DecodeSpec(&again); err != nil || got.Source != s.Source {
			t.Errorf("decoded source: got %+v, error %v, want %+v", got.Source, err, s.Source)
		}
	})
}
