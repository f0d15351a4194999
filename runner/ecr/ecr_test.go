package ecr_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/secret"
	"slipway/runner/ecr"
	"slipway/runner/ecr/ecrtest"
)

func client(s *ecrtest.Server, edit func(*ecr.Options)) *ecr.Client {
	o := ecr.Options{
		Region:    ecrtest.Region,
		KeyID:     ecrtest.KeyID,
		KeySecret: secret.New(ecrtest.Secret),
		Endpoint:  s.URL,
		Pause:     time.Millisecond,
	}
	edit(&o)
	return ecr.New(o)
}

func unchanged(*ecr.Options) {}

func TestLoginReturnsAmazonsToken(t *testing.T) {
	s := ecrtest.New(t)
	s.Down = 2 // the third try succeeds
	user, password, err := client(s, unchanged).Login(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if user != ecrtest.Username || password.Reveal() != ecrtest.Token {
		t.Errorf("got user %q and another password, want %q and the token", user, ecrtest.Username)
	}
	if got := len(s.Calls()); got != 3 {
		t.Errorf("got %d calls (%v), want 3", got, s.Calls())
	}
	temporary := ecrtest.New(t)
	temporary.Session = "session-canary"
	withSession := func(o *ecr.Options) { o.Session = secret.New("session-canary") }
	if _, _, err := client(temporary, withSession).Login(t.Context()); err != nil {
		t.Errorf("temporary key: %v", err)
	}
}

func TestLoginReportsAKeyThatAmazonRejects(t *testing.T) {
	for name, edit := range map[string]func(*ecr.Options){
		"another key":      func(o *ecr.Options) { o.KeyID = "AKIAOTHER" },
		"another secret":   func(o *ecr.Options) { o.KeySecret = secret.New("other-canary") },
		"another region":   func(o *ecr.Options) { o.Region = "us-east-1" },
		"a session's rest": func(o *ecr.Options) { o.Session = secret.New("session-canary") },
	} {
		s := ecrtest.New(t)
		_, _, err := client(s, edit).Login(t.Context())
		switch {
		case !errors.Is(err, ecr.ErrKey):
			t.Errorf("%s: got error %v, want %v", name, err, ecr.ErrKey)
		case strings.Contains(err.Error(), "canary"):
			t.Errorf("%s: got error %v, want no secret in it", name, err)
		case len(s.Calls()) != 1:
			t.Errorf("%s: calls: got %v, want one", name, s.Calls())
		}
	}
	s := ecrtest.New(t)
	s.Deny = "GetAuthorizationToken"
	if _, _, err := client(
		s,
		unchanged,
	).Login(t.Context()); !errors.Is(err, ecr.ErrDenied) ||
		!strings.Contains(err.Error(), "user/ci is not authorized to perform: ecr:GetAuthorizationToken") {
		t.Errorf("a key without the permission: got error %v, want %v and the permission", err, ecr.ErrDenied)
	}
	s.Close()
	if _, _, err := client(s, unchanged).Login(t.Context()); err == nil || errors.Is(err, ecr.ErrKey) {
		t.Errorf("a closed server: got error %v, want one other than %v", err, ecr.ErrKey)
	}
}

func TestEnsureRepositoryCreatesAndConfiguresARepository(t *testing.T) {
	s := ecrtest.New(t)
	c := client(s, unchanged)
	on, off := true, false
	for _, step := range []struct {
		want ecr.Repository
		done []string
		is   ecrtest.Repository
	}{
		{ecr.Repository{Create: true, Scan: &on, Lifecycle: `{"rules":[]}`}, []string{"made", "scan on push: true", "lifecycle policy"}, ecrtest.Repository{Scan: true, Lifecycle: `{"rules":[]}`}},
		{ecr.Repository{Create: true}, nil, ecrtest.Repository{Scan: true, Lifecycle: `{"rules":[]}`}},
		{ecr.Repository{Policy: `{"Version":"2012-10-17"}`}, []string{"access policy"}, ecrtest.Repository{Scan: true, Lifecycle: `{"rules":[]}`, Policy: `{"Version":"2012-10-17"}`}},
		{ecr.Repository{Create: true, Scan: &off}, []string{"scan on push: false"}, ecrtest.Repository{Lifecycle: `{"rules":[]}`, Policy: `{"Version":"2012-10-17"}`}},
	} {
		step.want.Name = "acme/app"
		done, err := c.EnsureRepository(t.Context(), step.want)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.done, done); diff != "" {
			t.Errorf("done (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(&step.is, s.Repository("acme/app")); diff != "" {
			t.Errorf("the repository (-want +got):\n%s", diff)
		}
	}
}

func TestEnsureRepositoryReportsTheDeniedAction(t *testing.T) {
	on := true
	for action, want := range map[string]ecr.Repository{
		"CreateRepository":              {Create: true},
		"PutImageScanningConfiguration": {Create: true, Scan: &on},
		"PutLifecyclePolicy":            {Create: true, Lifecycle: "{}"},
		"SetRepositoryPolicy":           {Create: true, Policy: "{}"},
	} {
		s := ecrtest.New(t)
		s.Deny, want.Name = action, "acme/app"
		if _, err := client(
			s,
			unchanged,
		).EnsureRepository(t.Context(), want); !errors.Is(err, ecr.ErrDenied) ||
			!strings.Contains(err.Error(), "ecr:"+action) {
			t.Errorf("%s: got error %v, want %v and the action", action, err, ecr.ErrDenied)
		}
	}
	s := ecrtest.New(t)
	if _, err := client(
		s,
		unchanged,
	).EnsureRepository(t.Context(), ecr.Repository{Name: "acme/app", Scan: &on}); err == nil ||
		!strings.Contains(err.Error(), "RepositoryNotFoundException") {
		t.Errorf("a repository that does not exist: got error %v, want RepositoryNotFoundException in it", err)
	}
}
