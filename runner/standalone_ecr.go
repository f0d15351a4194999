package runner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"slipway/runner/ecr"
	"slipway/runner/settings"
	"slipway/runner/source"
)

// ecrTime bounds what is asked of Amazon before a build.
const ecrTime = 2 * time.Minute

// logIn gets the logins that are made of another credential, for the build and for the push,
// and sees to the repository that is pushed to.
func (r *standalone) logIn(ctx context.Context) error {
	e := r.s.ECR
	if !e.On {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, ecrTime)
	defer cancel()
	client := ecr.New(
		ecr.Options{
			Region:    e.Region,
			KeyID:     e.KeyID,
			KeySecret: e.KeySecret,
			Session:   e.Session,
			Endpoint:  e.Endpoint,
			Pause:     r.pause(),
		},
	)
	login := settings.Login{Origin: r.s.Origins["PLUGIN_AWS_ACCESS_KEY_ID"]}
	var err error
	if login.Username, login.Password, err = client.Login(ctx); err != nil {
		return r.blameKey(err)
	}
	r.hide(login.Password)
	login.Host = e.Host
	r.s.Logins = append(r.s.Logins, login)
	r.request.Registries = r.s.Registries()
	if !r.publishes() {
		return nil
	}
	want := ecr.Repository{Create: e.Create, Scan: e.Scan}
	if want.Lifecycle, err = r.policy("PLUGIN_ECR_LIFECYCLE_POLICY", e.Lifecycle); err != nil {
		return err
	}
	if want.Policy, err = r.policy("PLUGIN_ECR_REPOSITORY_POLICY", e.Policy); err != nil {
		return err
	}
	for _, want.Name = range e.Repositories {
		done, err := client.EnsureRepository(ctx, want)
		if len(done) > 0 {
			r.log.line("repository %s: %s", want.Name, strings.Join(done, ", "))
		}
		if err != nil {
			return r.blameKey(err)
		}
	}
	return nil
}

// wouldSettle says what a step that pushes does to the repositories.
func (r *standalone) wouldSettle() {
	e := r.s.ECR
	var what []string
	if e.Create {
		what = append(what, "make it if it is not there")
	}
	if e.Scan != nil {
		what = append(what, fmt.Sprintf("scan on push: %t", *e.Scan))
	}
	if e.Lifecycle != "" {
		what = append(what, "lifecycle policy "+e.Lifecycle)
	}
	if e.Policy != "" {
		what = append(what, "access policy "+e.Policy)
	}
	if what == nil {
		return
	}
	for _, name := range e.Repositories {
		r.log.line("would settle the repository %s: %s", name, strings.Join(what, ", "))
	}
}

// maxPolicy bounds a policy, in bytes: Amazon takes less of either kind.
const maxPolicy = 64 << 10

// policy reads a file.
func (r *standalone) policy(setting, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, err := source.ReadFile(r.s.Workspace, path, maxPolicy)
	if err != nil {
		return "", fmt.Errorf("%s: the file %w", setting, err)
	}
	return string(text), nil
}

// blameKey names the settings where Amazon did not take the key.
func (r *standalone) blameKey(err error) error {
	names := r.s.Origins["PLUGIN_AWS_ACCESS_KEY_ID"]
	if !strings.HasPrefix(names, "PLUGIN_LOGINS") {
		names = "PLUGIN_AWS_ACCESS_KEY_ID and PLUGIN_AWS_SECRET_ACCESS_KEY"
	}
	switch {
	case errors.Is(err, ecr.ErrKey), errors.Is(err, ecr.ErrDenied):
		return fmt.Errorf("%s: %w", names, err)
	case err != nil:
		return fmt.Errorf("Amazon's registry: %w", err) //nolint:staticcheck // a name
	}
	return nil
}

// noRepository is what a push without a repository comes to: Amazon's registry makes none.
func noRepository(name string, err error) error {
	return fmt.Errorf(
		"PLUGIN_REPO: Amazon's registry has no repository %s: make it, or set PLUGIN_ECR_CREATE_REPOSITORY to true: %w",
		name,
		err,
	)
}

// pause is the longest between tries; 0 = the client's own.
func (r *standalone) pause() time.Duration {
	if b := newBackoff(r.o.Backoff); b != nil {
		return b.NextBackOff()
	}
	return 0
}
