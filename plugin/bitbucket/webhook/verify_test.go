package webhook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/bitbucket/webhook"
)

type vector struct{ name, secret, body, signature string }

// vectors returns Atlassian's own test vectors, and recorded ones if SLIPWAY_FIXTURES is set.
func vectors(t *testing.T) []vector {
	t.Helper()
	all := []vector{{
		"W1", "It's a Secret to Everybody", "Hello World!",
		"sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9",
	}}
	dir := os.Getenv("SLIPWAY_FIXTURES")
	if dir != "" && !filepath.IsAbs(dir) { // as it was typed: at the repository's root
		dir = filepath.Join("..", "..", "..", dir)
	}
	if dir == "" {
		return all
	}
	if _, err := os.Stat(filepath.Join(dir, "SIGNATURES.tsv")); err != nil {
		dir = filepath.Join(dir, "webhooks")
	}
	text, err := os.ReadFile(filepath.Join(dir, "SIGNATURES.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), "\t")
		if len(cells) < 3 {
			continue
		}
		if body, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(cells[0]))); err == nil {
			all = append(all, vector{cells[0], cells[1], string(body), cells[2]})
		}
	}
	return all
}

func signed(values ...string) http.Header {
	return http.Header{webhook.SignatureHeader: values}
}

func TestI1SignaturesOfBitbucketAreAccepted(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.name, func(t *testing.T) {
			s := secret.New(v.secret)
			if err := webhook.Verify([]byte(v.body), signed(v.signature), s); err != nil {
				t.Error(err)
			}
			if got := webhook.Sign([]byte(v.body), s); got != v.signature {
				t.Errorf("signature: got %s, want %s", got, v.signature)
			}
			if err := webhook.Verify([]byte(v.body), signed(v.signature), secret.New("new"), s); err != nil {
				t.Errorf("verify with the previous secret (W5): %v", err)
			}
		})
	}
}

// I1: Only one form of one signature is accepted. An empty secret never matches.
func TestI1OnlyAWellFormedSignatureByTheHooksKeyCounts(t *testing.T) {
	const body = "Hello World!"
	s := secret.New("It's a Secret to Everybody")
	good := webhook.Sign([]byte(body), s)
	for name, row := range map[string]struct {
		body    string
		header  http.Header
		secrets []secret.Secret
	}{
		"W2 missing":               {body, http.Header{}, []secret.Secret{s}},
		"W2 wrong":                 {body, signed("sha256=" + strings.Repeat("0", 64)), []secret.Secret{s}},
		"W2 sha1":                  {body, signed("sha1=" + good[7:]), []secret.Secret{s}},
		"W2 no digits":             {body, signed("sha256="), []secret.Secret{s}},
		"W2 not hex":               {body, signed("sha256=" + strings.Repeat("x", 64)), []secret.Secret{s}},
		"W2 no prefix":             {body, signed(good[7:]), []secret.Secret{s}},
		"W2 cut":                   {body, signed(good[:len(good)-2]), []secret.Secret{s}},
		"W2 longer":                {body, signed(good + "00"), []secret.Secret{s}},
		"W2 63 digits":             {body, signed(good[:len(good)-1]), []secret.Secret{s}},
		"W2 65 digits":             {body, signed(good + "0"), []secret.Secret{s}},
		"upper case digits":        {body, signed("sha256=" + strings.ToUpper(good[7:])), []secret.Secret{s}},
		"upper case name":          {body, signed("SHA256=" + good[7:]), []secret.Secret{s}},
		"blanks before":            {body, signed(" " + good), []secret.Secret{s}},
		"blanks after":             {body, signed(good + " "), []secret.Secret{s}},
		"a list in one header":     {body, signed(good + "," + good), []secret.Secret{s}},
		"an empty header":          {body, signed(""), []secret.Secret{s}},
		"W2 two, one of them good": {body, signed(good, "sha256="+strings.Repeat("0", 64)), []secret.Secret{s}},
		"W2 twice the same":        {body, signed(good, good), []secret.Secret{s}},
		"another header":           {body, http.Header{"X-Hub-Signature-256": {good}}, []secret.Secret{s}},
		"W3 a newline more":        {body + "\n", signed(good), []secret.Secret{s}},
		"W3 another case":          {strings.ToLower(body), signed(good), []secret.Secret{s}},
		"another secret":           {body, signed(good), []secret.Secret{secret.New("guess")}},
		"no secret":                {body, signed(good), nil},
		"an empty secret":          {body, signed(webhook.Sign([]byte(body), secret.Secret{})), []secret.Secret{{}}},
	} {
		if err := webhook.Verify([]byte(row.body), row.header, row.secrets...); !errors.Is(err, webhook.ErrSignature) {
			t.Errorf("%s: got error %v, want ErrSignature", name, err)
		}
	}
}

// FuzzVerify compares Verify with an oracle that computes the only valid header.
func FuzzVerify(f *testing.F) {
	f.Add([]byte("Hello World!"), "It's a Secret to Everybody",
		"sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9")
	f.Add([]byte(""), "", "sha256=")
	f.Add([]byte("{}"), "s", "sha1=0")
	f.Add([]byte("Hello World!"), "It's a Secret to Everybody",
		"sha256=A4771C39FBE90F317C7824E83DDEF3CAAE9CB3D976C214ACE1F2937E133263C9")
	for _, p := range payloads(f) {
		f.Add(p.body, p.name, webhook.Sign(p.body, secret.New(p.name)))
	}
	f.Fuzz(func(t *testing.T, body []byte, key, header string) {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write(body)
		only := "sha256=" + hex.EncodeToString(mac.Sum(nil))
		want := key != "" && header == only
		if got := webhook.Verify(body, signed(header), secret.New(key)) == nil; got != want {
			t.Errorf("accepted: got %t, want %t", got, want)
		}
		if err := webhook.Verify(body, signed(only), secret.New(key)); (err == nil) != (key != "") {
			t.Errorf("verify the output of Sign: %v", err)
		}
	})
}
