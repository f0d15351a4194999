package settings

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"slipway/config"
	"slipway/config/secret"
)

const (
	awsKey           = "PLUGIN_AWS_ACCESS_KEY_ID"
	awsKeySecret     = "PLUGIN_AWS_SECRET_ACCESS_KEY" //nolint:gosec // the name of a variable
	awsRegion        = "PLUGIN_AWS_REGION"
	awsEnvKey        = "AWS_ACCESS_KEY_ID"
	awsEnvKeySecret  = "AWS_SECRET_ACCESS_KEY" //nolint:gosec // the name of a variable
	awsEnvKeySession = "AWS_SESSION_TOKEN"
)

// ecrHost is a private registry of Amazon's.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html
var ecrHost = regexp.MustCompile(`^[0-9]{12}\.dkr\.ecr(-fips)?\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?$`)

// ECR is the login at Amazon's registry, and what the image's repository is to be like there.
type ECR struct {
	On           bool // log in, by the key
	Region       string
	KeyID        string
	KeySecret    secret.Secret
	Session      secret.Secret // of a key that was lent; may be empty
	Endpoint     string        // empty = Amazon's
	Host         string
	Repositories []string // the images' there, without the registry
	Create       bool
	Scan         *bool  // on push; nil = as it is
	Lifecycle    string // paths of policies, absolute or from the workspace; empty = as it is
	Policy       string
}

// changes reports whether the repository is to be made or changed.
func (e ECR) changes() bool { return e.Create || e.Scan != nil || e.Lifecycle != "" || e.Policy != "" }

// readECR comes after the image and its login: a user name that is given goes before a key.
func (p *Plugin) readECR(raw config.PluginECR, given map[string]string) error {
	listed := p.ECR
	p.ECR = ECR{}
	e := ECR{Lifecycle: raw.ECRLifecyclePolicy, Policy: raw.ECRRepositoryPolicy, Host: listed.Host}
	region := cmp.Or(e.findImages(p.Images), listed.Region)
	var err error
	if e.Create, err = trueFalse("PLUGIN_ECR_CREATE_REPOSITORY", raw.ECRCreateRepository); err != nil {
		return err
	}
	if raw.ECRScanOnPush != "" {
		scan, err := trueFalse("PLUGIN_ECR_SCAN_ON_PUSH", raw.ECRScanOnPush)
		if err != nil {
			return err
		}
		e.Scan = &scan
	}
	asked := e.changes() || raw.AWSAccessKeyID != "" || !raw.AWSSecretAccessKey.IsZero()
	if region == "" || (e.changes() && len(e.Repositories) == 0) {
		if asked && p.Image() != "" {
			return fmt.Errorf(
				"PLUGIN_REPO is %s, and settings for Amazon's registry are given: begin PLUGIN_REPO with ACCOUNT.dkr.ecr.REGION.amazonaws.com/",
				p.Image(),
			)
		}
		return nil
	}
	if e.Region = region; raw.AWSRegion != "" && raw.AWSRegion != e.Region {
		return fmt.Errorf(
			"%s is %s, and PLUGIN_REPO is in %s: a login of one region is not known in another",
			awsRegion,
			raw.AWSRegion,
			e.Region,
		)
	}
	if err := e.readKey(raw, given); err != nil {
		if !p.DryRun {
			return err
		}
		e.KeyID, e.KeySecret = "", secret.Secret{}
		p.warn("nobody is logged in at Amazon's registry: %v", err)
	}
	if listed.KeyID != "" {
		if raw.AWSAccessKeyID != "" {
			return fmt.Errorf("%s and %s are both set: give one key", awsKey, p.Origins[awsKey])
		}
		e.KeyID, e.KeySecret = listed.KeyID, listed.KeySecret
	} else if raw.AWSAccessKeyID == "" && e.KeyID != "" {
		p.Origins[awsKey] = awsEnvKey
	}
	image := e.Host + "/" + slices.Concat(e.Repositories, []string{"any"})[0]
	if e.On = e.KeyID != "" && p.LoginFor(image).Anonymous(); !e.On && e.changes() && !p.DryRun {
		return fmt.Errorf(
			"%s and %s are not set, or PLUGIN_USERNAME is: the repository's settings can be changed with a key of Amazon's alone",
			awsKey,
			awsKeySecret,
		)
	}
	e.Endpoint, _ = first(given, "", "AWS_ENDPOINT_URL_ECR", "AWS_ENDPOINT_URL")
	p.ECR = e
	return nil
}

// noteKey notes an entry of logins that has a key in place of a user name; readECR goes on.
func (p *Plugin) noteKey(e loginEntry, host, origin string) error {
	found := ecrHost.FindStringSubmatch(host)
	switch {
	case found == nil:
		return fmt.Errorf(
			"%s has a key of AWS, and its registry, %s, is none of Amazon's: ACCOUNT.dkr.ecr.REGION.amazonaws.com",
			origin,
			host,
		)
	case (e.AWSKeyID == "" || e.AWSKey == "") && p.DryRun:
		p.warn(
			"%s: nobody is logged in at %s: there is no aws_access_key_id, or no aws_secret_access_key",
			origin,
			host,
		)
		return nil
	case e.AWSKeyID == "" || e.AWSKey == "":
		return fmt.Errorf(
			"%s, for %s, has no aws_access_key_id, or no aws_secret_access_key: give both; a CI keeps secrets from pull requests and from steps that do not name them",
			origin,
			host,
		)
	case e.AWSRegion != "" && e.AWSRegion != found[2]:
		return fmt.Errorf(
			"%s: aws_region is %s, and the registry is in %s: a login of one region is not known in another",
			origin,
			e.AWSRegion,
			found[2],
		)
	case p.ECR.Host != "":
		return fmt.Errorf(
			"%s is the second with a key of AWS: give it the user name AWS, and as the password what `aws ecr get-login-password` prints",
			origin,
		)
	}
	p.ECR = ECR{Host: host, Region: found[2], KeyID: e.AWSKeyID, KeySecret: secret.New(e.AWSKey)}
	p.Origins[awsKey] = origin
	return nil
}

// findImages notes the images at the first of Amazon's registries that one is at, and returns
// its region. Another registry of Amazon's needs a login of its own.
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

// readKey takes the key of the settings, or else as a whole the environment's, as Amazon's own
// programs know it. https://docs.aws.amazon.com/sdkref/latest/guide/feature-static-credentials.html
func (e *ECR) readKey(raw config.PluginECR, given map[string]string) error {
	e.KeyID, e.KeySecret = raw.AWSAccessKeyID, raw.AWSSecretAccessKey
	if e.KeyID == "" && e.KeySecret.IsZero() {
		e.KeyID, e.KeySecret = given[awsEnvKey], secret.New(given[awsEnvKeySecret])
	}
	e.Session = secret.New(given[awsEnvKeySession])
	if (e.KeyID == "") != e.KeySecret.IsZero() {
		return errors.New(
			awsKey + " or " + awsKeySecret + " is not set, the other is: give both; a CI keeps secrets from pull requests and from steps that do not name them",
		)
	}
	return nil
}

func (e ECR) secrets() []secret.Secret { return []secret.Secret{e.KeySecret, e.Session} }
