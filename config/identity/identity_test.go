package identity_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/config/identity"
	"slipway/config/identity/identitytest"
	"slipway/config/secret"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "client.pem")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead(t *testing.T) {
	cert, key := identitytest.Pair(t)
	whole := cert + cert + key
	for name, value := range map[string]string{"its PEM": whole, "its file": write(t, whole), "key first": key + cert + cert} {
		id, err := identity.Read(secret.New(value))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if id.IsZero() {
			t.Errorf("%s: got a zero identity, want a certificate", name)
			continue
		}
		if got := id.Expires().Year(); got != 2099 {
			t.Errorf("%s: got expiry in %d, want 2099", name, got)
		}
	}
	id, err := identity.Read(secret.New(whole))
	if err != nil {
		t.Fatal(err)
	}
	printed := fmt.Sprintf("%v %+v %#v %s", id, struct{ ID identity.Identity }{id}, &id, id)
	if strings.Contains(printed, "KEY") || len(printed) > 200 {
		t.Errorf("printed identity: got %s, want no key and 200 characters at most", printed)
	}
	if id, err := identity.Read(secret.Secret{}); err != nil || !id.IsZero() {
		t.Errorf("empty setting: got error %v and zero %t, want a zero identity", err, id.IsZero())
	}
}

func TestReadRefuses(t *testing.T) {
	cert, key := identitytest.Pair(t)
	other, _ := identitytest.Pair(t)
	for name, c := range map[string]struct{ value, want string }{
		"no PEM":           {"hunter2", "not a certificate"},
		"no key":           {cert + cert, "not a certificate"},
		"key of another":   {other + cert + key, "not a certificate"},
		"no authority":     {cert + key, "add the certificate of the authority after it"},
		"no file":          {"/no/such/file.pem", "/no/such/file.pem"},
		"an empty file":    {write(t, ""), "0 bytes"},
		"a long file":      {write(t, strings.Repeat("x", 1<<20)), "bytes"},
		"a file of no PEM": {write(t, "hunter2"), "client.pem"},
	} {
		_, err := identity.Read(secret.New(c.value))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want %q in it", name, err, c.want)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got error %v, want no secret in it", name, err)
		}
	}
}

func TestCheckAddress(t *testing.T) {
	cert, key := identitytest.Pair(t)
	client, err := identity.Parse(secret.New(cert + cert + key))
	if err != nil {
		t.Fatal(err)
	}
	for address, c := range map[string]struct {
		good, needed, encrypts bool
	}{
		"unix:///run/b.sock":    {good: true},
		"tcp://127.0.0.1:1234":  {good: true, encrypts: true},
		"tcp://[::1]:1234":      {good: true, encrypts: true},
		"tcp://localhost:1234":  {good: true, encrypts: true},
		"tcp://builder:1234":    {needed: true, encrypts: true},
		"tcp://10.0.0.1:1234":   {needed: true, encrypts: true},
		"tcp://builder":         {},
		"tcp://:1234":           {},
		"tcp://u:p@builder:1":   {},
		"tcp://builder:1/x":     {},
		"unix://b.sock":         {},
		"/run/b.sock":           {},
		"http://builder:1":      {},
		"":                      {},
		"tcp://127.0.0.1:1?x=y": {},

		"docker-container://buildx_buildkit_default0":           {good: true},
		"docker-container://b?context=remote":                   {good: true},
		"kube-pod://builder-0?namespace=ci&container=buildkitd": {good: true},
		"docker-container://":                                   {},
		"docker-container://-b":                                 {},
		"docker-container://u@b":                                {},
		"docker-container://b?context=--host":                   {},
		"docker-container://b?namespace=ci":                     {},
		"kube-pod://b/x":                                        {},
		"kube-pod://b:1":                                        {},
		"podman-container://b":                                  {},
	} {
		err := identity.CheckAddress(address, identity.Identity{})
		if (err == nil) != c.good || errors.Is(err, identity.ErrNeeded) != c.needed {
			t.Errorf(
				"%q without a certificate: got error %v, want valid %t, certificate needed %t",
				address,
				err,
				c.good,
				c.needed,
			)
		}
		if err := identity.CheckAddress(address, client); (err == nil) != (c.good || c.needed) {
			t.Errorf("%q with a certificate: got error %v, want valid %t", address, err, c.good || c.needed)
		}
		if !c.good && !c.needed {
			continue
		}
		if got := identity.Encrypts(address, client); got != c.encrypts {
			t.Errorf("%q with a certificate: encrypted: got %t, want %t", address, got, c.encrypts)
		}
		if identity.Encrypts(address, identity.Identity{}) {
			t.Errorf("%q without a certificate: encrypted: got true, want false", address)
		}
	}
}
