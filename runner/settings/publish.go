package settings

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"slipway/config/secret"
	"slipway/runner/commitstatus"
	"slipway/runner/registry"
	"slipway/runner/settings/table"
)

// Copy is the image of a step that pushes and does not build. Then either Reference or File is set.
type Copy struct {
	On        bool
	Reference string // registry/name:tag or registry/name@sha256:…
	File      string // absolute, or relative to the workspace
}

// Source returns the origin of the image, for the log.
func (c Copy) Source() string { return c.Reference + c.File }

func copyTable() table.Table[Copy] {
	return table.Table[Copy]{
		{
			Name: pushOnlyName, Default: "false",
			Help: "true: do not build; push source_image under the tags",
			Set:  table.Bool(func(c *Copy) *bool { return &c.On }),
		},
		{
			Name:  sourceName,
			Needs: pushOnlyName,
			Help: "for push_only: an image in a registry, for example registry.example.com/acme/app:1.2 or …@sha256:…; " +
				"or a file, whose path begins with / or ./: an OCI layout, or the output of docker save",
			Unset: "repo at the first of the tags",
			Set:   (*Copy).setSource,
		},
	}
}

func (c *Copy) setSource(name, text string) (err error) {
	if strings.HasPrefix(text, "/") || strings.HasPrefix(text, "./") {
		c.File = filepath.Clean(text)
		return nil
	}
	if c.Reference, err = registry.ParseReference(text); err != nil {
		return fmt.Errorf("%s: %w; a file's path begins with / or ./", name, err)
	}
	return nil
}

// applyCopy validates push_only. It runs after the tags and dry_run are known. The default source is the
// image at the first tag, and a dry run that only pushes would do nothing.
func (r *stepReader) applyCopy() error {
	switch {
	case !r.Copy.On:
		return nil
	case r.DryRun && r.Origins[dryRunName] == outputName:
		return fmt.Errorf(
			"PLUGIN_PUSH_ONLY is true, and %s prevents the push: remove one of them",
			outputName,
		)
	case r.DryRun:
		return fmt.Errorf("PLUGIN_PUSH_ONLY and %s are both true: one pushes and builds nothing, "+
			"the other builds and pushes nothing; remove one of them", r.Origins[dryRunName])
	case r.Build.Archive.Type != "":
		return fmt.Errorf("PLUGIN_PUSH_ONLY is true, and %s asks for a file of the image, "+
			"which only a build writes: remove one of them", r.Origins[outputName])
	}
	if len(r.Tags) == 0 && r.Skip == "" {
		r.Skip = "PLUGIN_PUSH_ONLY is true, and there is no tag to push"
	}
	if r.Copy.Source() == "" && len(r.Tags) > 0 {
		r.Copy.Reference = r.Image() + ":" + r.Tags[0]
	}
	return nil
}

// The settings of the signature.
const (
	signKeyName      = "PLUGIN_COSIGN_PRIVATE_KEY"
	signPasswordName = "PLUGIN_COSIGN_PASSWORD" //nolint:gosec // the name of a variable
	signParamsName   = "PLUGIN_COSIGN_PARAMS"
)

// Sign is the key and the content of the image's signature. Without a key the image is not signed.
type Sign struct {
	Key         secret.Secret // PEM, or the path of a PEM file if InFile is set
	InFile      bool          // the path is absolute, or from the workspace
	Password    secret.Secret
	Annotations map[string]string
}

func signTable() table.Table[Sign] {
	return table.Table[Sign]{
		{
			Name: signKeyName, Secret: true,
			Help: "private key of cosign generate-key-pair, or another in PEM, or the path of its file; " +
				"the image is signed before any tag points at it, without an entry in a transparency log",
			Set: table.Secret(func(s *Sign) *secret.Secret { return &s.Key }),
		},
		{
			Name: signPasswordName, Secret: true,
			Help: "password of cosign_private_key",
			Set:  table.Secret(func(s *Sign) *secret.Secret { return &s.Password }),
		},
		{
			Name: signParamsName,
			Help: "annotations of the signature, for example -a build=7 -a team=web",
			Set:  (*Sign).setParams,
		},
	}
}

// setParams reads cosign's own parameters: annotations, and parameters for steps that Slipway does in any
// case. It rejects other parameters, because they change the signature.
// https://github.com/sigstore/cosign/blob/main/doc/cosign_sign.md
func (s *Sign) setParams(name, text string) error {
	params := strings.Fields(text)
	for i := 0; i < len(params); i++ {
		param, value, joined := strings.Cut(params[i], "=")
		switch {
		case slices.Contains([]string{"--tlog-upload=false", "--yes", "--yes=true", "-y"}, params[i]):
			continue
		case param != "-a" && param != "--annotations":
			return fmt.Errorf("%s has %q: use -a NAME=value; "+
				"nothing is sent to a transparency log (--tlog-upload=false), and the key is in %s",
				name, params[i], signKeyName)
		case !joined && i+1 < len(params):
			i++
			value = params[i]
		}
		if err := s.addAnnotations(name, value); err != nil {
			return err
		}
	}
	return nil
}

// addAnnotations adds annotations in the form NAME=value,NAME=value, as cosign does.
func (s *Sign) addAnnotations(setting, text string) error {
	for one := range strings.SplitSeq(text, ",") {
		name, value, found := strings.Cut(one, "=")
		if !found || name == "" {
			return fmt.Errorf("%s: %q is not NAME=value", setting, one)
		}
		if s.Annotations == nil {
			s.Annotations = map[string]string{}
		}
		s.Annotations[name] = value
	}
	return nil
}

// applySign finds out whether the key is in a file, and notes settings that need a key.
func (r *stepReader) applySign() {
	key := r.Sign.Key
	r.Sign.InFile = !key.IsZero() && !strings.Contains(key.Reveal(), "-----BEGIN")
	if key.IsZero() && (!r.Sign.Password.IsZero() || r.Origins[signParamsName] != Default) {
		r.warn("the image is not signed: %s or %s is set without %s; "+
			"a CI keeps secrets from pull requests and from steps that do not name them",
			signPasswordName, signParamsName, signKeyName)
	}
}

func (s Sign) secrets() []secret.Secret { return []secret.Secret{s.Key, s.Password} }

const (
	bitbucketTokenName    = "PLUGIN_BITBUCKET_TOKEN"
	bitbucketPasswordName = "PLUGIN_BITBUCKET_PASSWORD"

	// maxStatusKey is the maximum length of a status key at Bitbucket Cloud, in characters.
	maxStatusKey = 40
)

// Status configures the commit status that a step without a gateway reports to Bitbucket.
type Status struct {
	Off        bool
	Credential commitstatus.Credential // zero = report nothing
	URL        string                  // address of Data Center, or of a proxy of Cloud's API; empty = find out
	Key        string                  // empty = make one
}

// statusValues are the settings of the status.
type statusValues struct {
	on       bool
	token    secret.Secret
	username string
	password secret.Secret
	url, key string
}

func statusTable() table.Table[statusValues] {
	return table.Table[statusValues]{
		{
			Name: "PLUGIN_BITBUCKET_STATUS", Default: "on",
			Help: "on or off: report the status of the commit to Bitbucket, if a credential for it is set",
			Set:  table.OnOff(func(s *statusValues) *bool { return &s.on }),
		},
		{
			Name: bitbucketTokenName, Secret: true, Conflicts: bitbucketPasswordName,
			Help: "Bitbucket access token of the repository, project or workspace; Data Center: HTTP access token. " +
				"Read access to the repository is enough",
			Set: table.Secret(func(s *statusValues) *secret.Secret { return &s.token }),
		},
		{
			Name: "PLUGIN_BITBUCKET_USERNAME",
			Help: "in place of a token: the Atlassian account's e-mail address; Data Center: user name",
			Set:  table.Text(func(s *statusValues) *string { return &s.username }),
		},
		{
			Name: bitbucketPasswordName, Secret: true,
			Help: "API token with the scope read:repository:bitbucket; Data Center: HTTP access token or password",
			Set:  table.Secret(func(s *statusValues) *secret.Secret { return &s.password }),
		},
		{
			Name:  "PLUGIN_BITBUCKET_URL",
			Help:  "address of Data Center, for example https://bitbucket.example.com, or of a proxy of Cloud's API",
			Unset: "Cloud, or the address that the CI clones from",
			Set:   (*statusValues).setURL,
		},
		{
			Name:  "PLUGIN_BITBUCKET_KEY",
			Help:  "key of the status, up to 40 characters",
			Unset: "made of repository, image, Dockerfile, context, target and ref",
			Set:   (*statusValues).setKey,
		},
	}
}

func (s *statusValues) setURL(name, text string) error {
	s.url = text
	return checkURL(name, text, "https://bitbucket.example.com")
}

func (s *statusValues) setKey(name, text string) error {
	s.key = text
	if n := utf8.RuneCountInString(text); n > maxStatusKey {
		return fmt.Errorf("%s has %d characters: Bitbucket accepts at most %d", name, n, maxStatusKey)
	}
	return nil
}

// applyStatus sets the status. A user name without a password is no error: a CI keeps secrets from
// pull requests, and a status must not fail a build.
func (r *stepReader) applyStatus() error {
	s := r.status
	r.Status = Status{Off: !s.on, URL: s.url, Key: s.key}
	switch {
	case !s.token.IsZero():
		r.Status.Credential.Password = s.token
	case s.username != "":
		r.Status.Credential = commitstatus.Credential{Username: s.username, Password: s.password}
	case !s.password.IsZero() && r.Origins[bitbucketTokenName] == Default:
		return errors.New("PLUGIN_BITBUCKET_PASSWORD is set without PLUGIN_BITBUCKET_USERNAME: " +
			"set both, or only PLUGIN_BITBUCKET_TOKEN")
	}
	given := r.Status.Credential.Password
	r.Status.Credential.Password = given.TrimLineBreaks()
	if !r.Status.Credential.Password.Equal(given) {
		r.warnTrimmed("the credential for Bitbucket (PLUGIN_BITBUCKET_TOKEN or PLUGIN_BITBUCKET_PASSWORD)")
	}
	return nil
}

func (s Status) secrets() []secret.Secret { return []secret.Secret{s.Credential.Password} }
