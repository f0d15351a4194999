package builder

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/moby/buildkit/session/sshforward/sshprovider"

	"slipway/runner/spec"
)

// optionAttrs are a build's options in the words of the Dockerfile frontend.
func optionAttrs(o spec.BuildOptions) map[string]string {
	attrs := map[string]string{}
	for _, proxy := range o.Proxies {
		attrs["build-arg:"+proxy.Name] = proxy.Value.Reveal()
	}
	if o.Pull {
		attrs["image-resolve-mode"] = "pull"
	}
	var hosts []string
	for _, host := range o.Hosts {
		hosts = append(hosts, host.Name+"="+host.Address.String())
	}
	if hosts != nil {
		attrs["add-hosts"] = strings.Join(hosts, ",")
	}
	for name, value := range o.Labels {
		attrs["label:"+name] = value
	}
	if o.Provenance != "" {
		attrs["attest:provenance"] = o.Provenance
	}
	if o.SBOM != "" {
		attrs["attest:sbom"] = o.SBOM
	}
	return attrs
}

// exporterAttrs say what the image is made of. Docker's older media types are what every
// registry takes; OCI's are taken where what was asked for needs them.
// https://docs.docker.com/build/exporters/image-registry/
func (r Request) exporterAttrs() map[string]string {
	o := r.Options
	attested := o.Provenance != "" || o.SBOM != ""
	attrs := map[string]string{
		"compression":    cmp.Or(o.Compression.Type, "gzip"),
		"oci-mediatypes": strconv.FormatBool(o.OCI || len(o.Annotations) > 0 || attested || o.Compression.Type == "zstd"),
	}
	switch {
	case o.Compression.Level != "":
		attrs["compression-level"] = o.Compression.Level
	case o.Compression.Type == "":
		attrs["compression-level"] = "1"
	}
	if o.ForceCompression {
		attrs["force-compression"] = "true"
	}
	if o.RewriteTimestamp {
		attrs["rewrite-timestamp"] = "true"
	}
	maps.Copy(attrs, r.pushAttrs())
	for name, value := range o.Annotations {
		attrs["annotation."+name] = value
		if len(r.Platforms) > 1 || attested { // then there is an index
			attrs["annotation-index."+name] = value
		}
	}
	return attrs
}

// cacheEntries are caches in BuildKit's form. Its client writes into them.
func cacheEntries(caches []spec.Cache) (all []client.CacheOptionsEntry) {
	for _, c := range caches {
		all = append(all, client.CacheOptionsEntry{Type: c.Type, Attrs: maps.Clone(c.Attrs)})
	}
	return all
}

// attachables are what the builder may ask of us while it builds: logins, and the secrets and
// the key that the build was given. They go to the steps that mount them, and into no layer.
func (r Request) attachables() ([]session.Attachable, error) {
	all := []session.Attachable{newCredentials(r.Image, r.Registries)}
	values := make(map[string][]byte, len(r.Options.Secrets))
	for _, s := range r.Options.Secrets {
		values[s.ID] = []byte(s.Value.Reveal())
	}
	all = append(all, secretsprovider.FromMap(values))
	if r.Options.SSHKey.IsZero() {
		return all, nil
	}
	key, err := sshAgent(r.Options.SSHKey.Reveal())
	if err != nil {
		return nil, err
	}
	return append(all, key), nil
}

// sshAgent signs with a key. BuildKit reads keys of files alone, so the key is in one for as
// long as that takes.
func sshAgent(key string) (session.Attachable, error) {
	file, err := os.CreateTemp("", "key-") // only we may read it
	if err != nil {
		return nil, fmt.Errorf("ssh key: %w", err)
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.WriteString(strings.TrimSpace(key) + "\n")
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("ssh key: %w", err)
	}
	agent, err := sshprovider.NewSSHAgentProvider([]sshprovider.AgentConfig{{Paths: []string{file.Name()}}})
	if err != nil {
		return nil, errors.New("the ssh key (setting ssh_agent_key) cannot be used: give a private key in PEM form, all of its lines, without a passphrase")
	}
	return agent, nil
}
