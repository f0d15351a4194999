package settings

import (
	"fmt"
	"slices"
	"strings"

	"slipway/config"
	"slipway/config/secret"
)

const (
	signKey    = "PLUGIN_COSIGN_PRIVATE_KEY"
	signUnlock = "PLUGIN_COSIGN_PASSWORD"
	signParams = "PLUGIN_COSIGN_PARAMS"
)

// Sign is what the image is signed with. Without a key it is not signed.
type Sign struct {
	Key         secret.Secret // PEM, or, when InFile, the path that it is yet to be read from
	InFile      bool          // a path is absolute, or from the workspace
	Password    secret.Secret
	Annotations map[string]string
}

func (p *Plugin) readSign(raw config.PluginSign) (err error) {
	p.Sign = Sign{Key: raw.CosignPrivateKey, Password: raw.CosignPassword}
	p.Sign.InFile = !p.Sign.Key.IsZero() && !strings.Contains(p.Sign.Key.Reveal(), "-----BEGIN")
	if p.Sign.Key.IsZero() && (raw.CosignParams != "" || !raw.CosignPassword.IsZero()) {
		p.warn(
			"the image is not signed: %s is not set, though %s or %s is; a CI keeps secrets from pull requests and from steps that do not name them",
			signKey,
			signUnlock,
			signParams,
		)
	}
	p.Sign.Annotations, err = signAnnotations(strings.Fields(raw.CosignParams))
	return err
}

// signAnnotations takes of cosign's own parameters the annotations, and those that say what is
// so here in any case. All others would ask for another signature than is made.
// https://github.com/sigstore/cosign/blob/main/doc/cosign_sign.md
func signAnnotations(params []string) (map[string]string, error) {
	var all map[string]string
	for i := 0; i < len(params); i++ {
		name, value, joined := strings.Cut(params[i], "=")
		switch {
		case slices.Contains([]string{"--tlog-upload=false", "--yes", "--yes=true", "-y"}, params[i]):
			continue
		case name != "-a" && name != "--annotations":
			return nil, fmt.Errorf(
				"%s has %q: what can be given here is -a NAME=value; nothing is sent to a transparency log (--tlog-upload=false), and keys are in %s",
				signParams,
				params[i],
				signKey,
			)
		case !joined && i+1 < len(params):
			i++
			value = params[i]
		}
		for one := range strings.SplitSeq(value, ",") { // as cosign does
			name, value, found := strings.Cut(one, "=")
			if !found || name == "" {
				return nil, fmt.Errorf("%s: %q is not NAME=value", signParams, one)
			}
			if all == nil {
				all = map[string]string{}
			}
			all[name] = value
		}
	}
	return all, nil
}

func (s Sign) secrets() []secret.Secret { return []secret.Secret{s.Key, s.Password} }
