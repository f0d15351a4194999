package step

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"slipway/runner/ecr"
	"slipway/runner/publish"
	"slipway/runner/registry"
	"slipway/runner/settings"
	"slipway/runner/source"
)

const (
	ecrTimeout    = 2 * time.Minute // time limit for all calls of Amazon's API before a build
	maxPolicySize = 64 << 10        // bytes; Amazon accepts less of either kind
)

// logIn exchanges an AWS key for a login at Amazon's registry and returns the run with that login. If the
// step pushes, it also makes and configures the repositories, as far as the settings ask for it.
func (r run) logIn(ctx context.Context) (run, error) {
	e := r.s.ECR
	if !e.On {
		return r, nil
	}
	ctx, cancel := context.WithTimeout(ctx, ecrTimeout)
	defer cancel()
	client := ecr.New(ecr.Options{
		Region:    e.Region,
		KeyID:     e.KeyID,
		KeySecret: e.KeySecret,
		Session:   e.Session,
		Endpoint:  e.Endpoint,
		Pause:     r.ecrPause(),
	})
	login := settings.Login{Origin: r.s.Origins["PLUGIN_AWS_ACCESS_KEY_ID"]}
	login.Host = e.Host
	var err error
	login.Username, login.Password, err = client.Login(ctx)
	if err != nil {
		return r, r.explainAWSError(err)
	}
	r.out.Hide(login.Password)
	r.s.Logins = append(slices.Clone(r.s.Logins), login)
	if !r.publishes() {
		return r, nil
	}
	return r, r.ensureECRRepositories(ctx, client)
}

// ensureECRRepositories makes and configures the repositories at Amazon's registry.
func (r run) ensureECRRepositories(ctx context.Context, client *ecr.Client) error {
	e := r.s.ECR
	lifecycle, err := r.readPolicy("PLUGIN_ECR_LIFECYCLE_POLICY", e.Lifecycle)
	if err != nil {
		return err
	}
	policy, err := r.readPolicy("PLUGIN_ECR_REPOSITORY_POLICY", e.Policy)
	if err != nil {
		return err
	}
	for _, name := range e.Repositories {
		done, err := client.EnsureRepository(ctx, ecr.Repository{
			Name: name, Create: e.Create, Scan: e.Scan, Lifecycle: lifecycle, Policy: policy,
		})
		if len(done) > 0 {
			r.log.Line("repository %s: %s", name, strings.Join(done, ", "))
		}
		if err != nil {
			return r.explainAWSError(err)
		}
	}
	return nil
}

// readPolicy reads the file that a setting names; no file is no policy.
func (r run) readPolicy(setting, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	policy, err := source.ReadFile(r.s.Workspace, path, maxPolicySize)
	if err != nil {
		return "", fmt.Errorf("%s: the file %w", setting, err)
	}
	return string(policy), nil
}

// ecrPause is the longest pause between tries; 0 = the client's own.
func (r run) ecrPause() time.Duration {
	if b := publish.NewBackoff(r.o.Backoff); b != nil {
		return b.NextBackOff()
	}
	return 0
}

// explainAWSError names the settings of the key if Amazon did not accept it.
func (r run) explainAWSError(err error) error {
	names := r.s.Origins["PLUGIN_AWS_ACCESS_KEY_ID"]
	if !strings.HasPrefix(names, "PLUGIN_LOGINS") {
		names = "PLUGIN_AWS_ACCESS_KEY_ID and PLUGIN_AWS_SECRET_ACCESS_KEY"
	}
	if errors.Is(err, ecr.ErrKey) || errors.Is(err, ecr.ErrDenied) {
		return fmt.Errorf("%s: %w", names, err)
	}
	return fmt.Errorf("Amazon's registry: %w", err) //nolint:staticcheck // a name
}

// noECRRepository explains a push to a repository that does not exist. Amazon's registry does not create it.
func noECRRepository(name string, err error) error {
	return fmt.Errorf(
		"PLUGIN_REPO: Amazon's registry has no repository %s: create it, or set PLUGIN_ECR_CREATE_REPOSITORY to true: %w",
		name,
		err,
	)
}

func (r run) loginFor(image string) registry.Login { return loginOf(r.s.LoginFor(image)) }

func loginOf(l settings.Login) registry.Login {
	return registry.Login{Username: l.Username, Password: l.Password, Insecure: l.Insecure}
}
