package settings

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"slipway/config/secret"
	"slipway/runner/settings/table"
)

const (
	awsKeyName    = "PLUGIN_AWS_ACCESS_KEY_ID"
	awsSecretName = "PLUGIN_AWS_SECRET_ACCESS_KEY" //nolint:gosec // the name of a variable
	awsRegionName = "PLUGIN_AWS_REGION"
	awsKeyEnv     = "AWS_ACCESS_KEY_ID"
	awsSecretEnv  = "AWS_SECRET_ACCESS_KEY" //nolint:gosec // the name of a variable
)

// ecrHost is the host of a private registry of Amazon ECR.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html
var ecrHost = regexp.MustCompile(`^[0-9]{12}\.dkr\.ecr(-fips)?\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?$`)

// ECR configures the login at Amazon ECR, and the image's repository there.
type ECR struct {
	On           bool // log in, with the key
	Region       string
	KeyID        string
	KeySecret    secret.Secret
	Session      secret.Secret // session token of a temporary key; may be empty
	Endpoint     string        // address of the API; empty = Amazon's
	Host         string
	Repositories []string // names of the images, without the registry
	Create       bool
	Scan         *bool  // scan images on push; nil = unchanged
	Lifecycle    string // paths of policies, absolute or from the workspace; empty = unchanged
	Policy       string
}

// ecrValues are the settings from which ECR derives.
type ecrValues struct {
	keyID, region         string
	keySecret             secret.Secret
	create                bool
	scan                  *bool
	lifecycle, policy     string
	envKeyID              string
	envKeySecret, session secret.Secret
	endpoint              string
}

// ecrTable declares the login at Amazon ECR, and the ECR repository. The names are those of
// docker-buildx. The variables AWS_… are those of Amazon's own programs.
func ecrTable() table.Table[ecrValues] {
	return table.Table[ecrValues]{
		{
			Name: awsKeyName, Aliases: []string{"PLUGIN_ACCESS_KEY"}, Unset: awsKeyEnv,
			Help: "access key for the login if repo is ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME",
			Set:  table.Text(func(e *ecrValues) *string { return &e.keyID }),
		},
		{
			Name: awsSecretName, Aliases: []string{"PLUGIN_SECRET_KEY"}, Unset: awsSecretEnv, Secret: true,
			Help: "secret of aws_access_key_id",
			Set:  table.Secret(func(e *ecrValues) *secret.Secret { return &e.keySecret }),
		},
		{
			Name: awsRegionName, Aliases: []string{"PLUGIN_REGION"}, Unset: "the region in repo",
			Help: "region of the registry",
			Set:  table.Text(func(e *ecrValues) *string { return &e.region }),
		},
		{
			Name: "PLUGIN_ECR_CREATE_REPOSITORY", Aliases: []string{"PLUGIN_CREATE_REPOSITORY"}, Default: "false",
			Help: "true: create the repository if it does not exist",
			Set:  table.Bool(func(e *ecrValues) *bool { return &e.create }),
		},
		{
			Name: "PLUGIN_ECR_LIFECYCLE_POLICY", Aliases: []string{"PLUGIN_LIFECYCLE_POLICY"},
			Help: "file of the repository's lifecycle policy, absolute or from the workspace: JSON",
			Set:  table.Text(func(e *ecrValues) *string { return &e.lifecycle }),
		},
		{
			Name: "PLUGIN_ECR_REPOSITORY_POLICY", Aliases: []string{"PLUGIN_REPOSITORY_POLICY"},
			Help: "file of the repository's access policy, absolute or from the workspace: JSON",
			Set:  table.Text(func(e *ecrValues) *string { return &e.policy }),
		},
		{
			Name: "PLUGIN_ECR_SCAN_ON_PUSH", Unset: "unchanged",
			Help: "true or false: whether the repository's images are scanned when they are pushed",
			Set:  table.OptionalBool(func(e *ecrValues) **bool { return &e.scan }),
		},
		{Name: awsKeyEnv, Unlisted: true, Set: table.Text(func(e *ecrValues) *string { return &e.envKeyID })},
		{
			Name: awsSecretEnv, Unlisted: true, Secret: true,
			Set: table.Secret(func(e *ecrValues) *secret.Secret { return &e.envKeySecret }),
		},
		{
			Name: "AWS_SESSION_TOKEN", Unlisted: true, Secret: true,
			Set: table.Secret(func(e *ecrValues) *secret.Secret { return &e.session }),
		},
		{
			Name: "AWS_ENDPOINT_URL_ECR", Env: []string{"AWS_ENDPOINT_URL"}, Unlisted: true,
			Set: table.Text(func(e *ecrValues) *string { return &e.endpoint }),
		},
	}
}

// changes reports whether the repository is created or changed.
func (e ECR) changes() bool { return e.Create || e.Scan != nil || e.Lifecycle != "" || e.Policy != "" }

// applyECR runs after the images and the logins are known: a user name has precedence over a key. The
// key of an entry of logins is already in r.ECR.
func (r *stepReader) applyECR() error {
	v, listed := r.ecr, r.ECR
	r.ECR = ECR{}
	e := ECR{Host: listed.Host, Create: v.create, Scan: v.scan, Lifecycle: v.lifecycle, Policy: v.policy}
	e.Region = cmp.Or(e.findImages(r.Images), listed.Region)
	asked := e.changes() || v.keyID != "" || !v.keySecret.IsZero()
	if e.Region == "" || (e.changes() && len(e.Repositories) == 0) {
		if asked && r.Image() != "" {
			return fmt.Errorf("PLUGIN_REPO is %s, and settings for Amazon's registry are set: "+
				"begin PLUGIN_REPO with ACCOUNT.dkr.ecr.REGION.amazonaws.com/", r.Image())
		}
		if v.region != "" {
			r.warn("%s is not used: no image is at Amazon's registry", r.Origins[awsRegionName])
		}
		return nil
	}
	if v.region != "" && v.region != e.Region {
		return fmt.Errorf("%s is %s, and PLUGIN_REPO is in %s: set it to that region, or remove it",
			r.Origins[awsRegionName], v.region, e.Region)
	}
	if err := r.chooseKey(&e, listed); err != nil {
		return err
	}
	image := e.Host + "/" + slices.Concat(e.Repositories, []string{"any"})[0]
	e.On = e.KeyID != "" && r.LoginFor(image).Anonymous()
	if !e.On && e.changes() && !r.DryRun {
		return fmt.Errorf("changing the repository settings needs an AWS key: "+
			"set %s and %s, and remove PLUGIN_USERNAME", awsKeyName, awsSecretName)
	}
	e.Endpoint = v.endpoint
	r.ECR = e
	return nil
}

// chooseKey sets the key of e: that of an entry of logins, of the settings, or of the environment. A key
// is taken as a whole from one of them, as Amazon's own programs do.
// https://docs.aws.amazon.com/sdkref/latest/guide/feature-static-credentials.html
func (r *stepReader) chooseKey(e *ECR, listed ECR) error {
	v := r.ecr
	e.Session = v.session
	e.KeyID, e.KeySecret = v.keyID, v.keySecret
	if e.KeyID == "" && e.KeySecret.IsZero() {
		e.KeyID, e.KeySecret = v.envKeyID, v.envKeySecret
	}
	if (e.KeyID == "") != e.KeySecret.IsZero() {
		err := errors.New("only one of " + awsKeyName + " and " + awsSecretName + " is set: set both; " +
			"a CI keeps secrets from pull requests and from steps that do not name them")
		if !r.DryRun {
			return err
		}
		e.KeyID, e.KeySecret = "", secret.Secret{}
		r.warn("no login at Amazon's registry: %v", err)
	}
	switch {
	case listed.KeyID != "" && v.keyID != "":
		return fmt.Errorf("%s and %s are both set: set only one key", awsKeyName, r.Origins[awsKeyName])
	case listed.KeyID != "":
		e.KeyID, e.KeySecret = listed.KeyID, listed.KeySecret
	case v.keyID == "" && e.KeyID != "":
		r.Origins[awsKeyName] = awsKeyEnv
	}
	if e.trimLineBreaks() {
		r.warnTrimmed(r.Origins[awsKeyName] + " or its secret")
	}
	return nil
}

// trimLineBreaks leaves out line breaks at the end of the key, and reports whether there was one.
func (e *ECR) trimLineBreaks() bool {
	id, key, session := strings.TrimRight(e.KeyID, "\r\n"), e.KeySecret.TrimLineBreaks(), e.Session.TrimLineBreaks()
	trimmed := id != e.KeyID || !key.Equal(e.KeySecret) || !session.Equal(e.Session)
	e.KeyID = id
	e.KeySecret = key
	e.Session = session
	return trimmed
}

// findImages sets Host, if it is not set, to the first Amazon registry of an image. It sets Repositories to
// the images there. It returns the region of a host that it set. Another registry of Amazon's needs a login
// of its own.
func (e *ECR) findImages(images []string) (region string) {
	for _, image := range images {
		host, name, _ := strings.Cut(image, "/")
		if found := ecrHost.FindStringSubmatch(host); found != nil && e.Host == "" {
			e.Host, region = host, found[2]
		}
		if host == e.Host {
			e.Repositories = append(e.Repositories, name)
		}
	}
	return region
}

// setListedKey stores, for applyECR, the AWS key of a login entry that has no user name.
func (p *Plugin) setListedKey(e loginEntry, host, origin string) error {
	found := ecrHost.FindStringSubmatch(host)
	switch {
	case found == nil:
		return fmt.Errorf("%s has an AWS key, and its registry %s is not Amazon's: "+
			"set the registry to ACCOUNT.dkr.ecr.REGION.amazonaws.com", origin, host)
	case (e.AWSKeyID == "" || e.AWSKey == "") && p.DryRun:
		p.warn("%s: no login at %s: aws_access_key_id or aws_secret_access_key is not set",
			origin, host)
		return nil
	case e.AWSKeyID == "" || e.AWSKey == "":
		return fmt.Errorf("%s, for %s, has no aws_access_key_id, or no aws_secret_access_key: set both; "+
			"a CI keeps secrets from pull requests and from steps that do not name them", origin, host)
	case e.AWSRegion != "" && e.AWSRegion != found[2]:
		return fmt.Errorf("%s: aws_region is %s, and the registry is in %s: "+
			"set it to that region, or remove it", origin, e.AWSRegion, found[2])
	case p.ECR.Host != "":
		return fmt.Errorf("%s is the second login with an AWS key, and only one is allowed: "+
			"set its username to AWS, and its password to the output of `aws ecr get-login-password`", origin)
	}
	p.ECR = ECR{Host: host, Region: found[2], KeyID: e.AWSKeyID, KeySecret: secret.New(e.AWSKey)}
	p.Origins[awsKeyName] = origin
	return nil
}

func (e ECR) secrets() []secret.Secret { return []secret.Secret{e.KeySecret, e.Session} }
