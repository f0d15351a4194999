package buildkit

import (
	"cmp"
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

// optionAttrs returns a build's options as attributes of the Dockerfile frontend.
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
	for _, c := range o.Contexts {
		attrs["context:"+c.Name] = c.Source
		if c.Dir != "" {
			attrs["context:"+c.Name] = "local:" + namedMount(c)
		}
	}
	if len(o.Ulimits) > 0 {
		attrs["ulimit"] = strings.Join(o.Ulimits, ",")
	}
	if o.ShmSize > 0 {
		attrs["shm-size"] = strconv.FormatInt(o.ShmSize, 10)
	}
	if o.Provenance != "" {
		attrs["attest:provenance"] = o.Provenance
	}
	if o.SBOM != "" {
		attrs["attest:sbom"] = o.SBOM
	}
	return attrs
}

// namedMount returns the name under which the client offers the directory of a context. The prefix keeps it
// apart from the directories of the main context and of the Dockerfile.
func namedMount(c spec.NamedContext) string { return "context-" + c.Name }

// exporterAttrs returns the attributes of BuildKit's image exporter. It uses Docker's media types,
// because every registry accepts them. It uses OCI media types only if an option needs them.
// https://docs.docker.com/build/exporters/image-registry/
func (r Request) exporterAttrs() map[string]string {
	o := r.Options
	attested := o.Provenance != "" || o.SBOM != ""
	attrs := map[string]string{
		"compression": cmp.Or(o.Compression.Type, "gzip"),
		"oci-mediatypes": strconv.FormatBool(
			o.OCI || len(o.Annotations) > 0 || attested || o.Compression.Type == "zstd",
		),
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
		if len(r.Platforms) > 1 || attested { // the image then has an index
			attrs["annotation-index."+name] = value
		}
	}
	return attrs
}

// cacheEntries converts caches to BuildKit's form. It copies the attributes, because BuildKit's client
// changes them.
func cacheEntries(caches []spec.Cache) (all []client.CacheOptionsEntry) {
	for _, c := range caches {
		all = append(all, client.CacheOptionsEntry{Type: c.Type, Attrs: maps.Clone(c.Attrs)})
	}
	return all
}

// attachables returns the services that the client offers the builder during the build: registry
// logins, secrets, and the SSH key. Only steps that mount a secret get it, and no layer contains it.
func (r Request) attachables() ([]session.Attachable, error) {
	all := []session.Attachable{newCredentials(r.Image, r.Registries)}
	values := make(map[string][]byte, len(r.Options.Secrets))
	for _, s := range r.Options.Secrets {
		values[s.ID] = []byte(s.Value.Reveal())
	}
	all = append(all, secretsprovider.FromMap(values))
	if r.Options.SSHKey.IsZero() && len(r.Options.SSH) == 0 {
		return all, nil
	}
	keys, err := r.sshAgents()
	if err != nil {
		return nil, err
	}
	return append(all, keys), nil
}

// sshAgents returns the SSH agents of a build, each with its id.
func (r Request) sshAgents() (session.Attachable, error) {
	var agents []sshprovider.AgentConfig
	for _, a := range r.Options.SSH {
		agents = append(agents, sshprovider.AgentConfig{ID: a.ID, Paths: []string{a.Path}})
	}
	if r.Options.SSHKey.IsZero() {
		return newAgents(agents, "setting ssh")
	}
	return withKey(r.Options.SSHKey.Reveal(), agents)
}

// withKey adds an agent with one key. BuildKit reads keys only from files, so the key is in a temporary file
// until BuildKit has read it. The file has no name, so a killed process leaves no key.
func withKey(key string, agents []sshprovider.AgentConfig) (session.Attachable, error) {
	file, err := os.CreateTemp("", "key-") // mode 0600: only this user can read it
	if err != nil {
		return nil, fmt.Errorf("ssh key: %w", err)
	}
	defer file.Close()
	err = os.Remove(file.Name())
	if err == nil {
		_, err = file.WriteString(strings.TrimSpace(key) + "\n")
	}
	if err != nil {
		return nil, fmt.Errorf("ssh key: %w", err)
	}
	path := fmt.Sprintf("/proc/self/fd/%d", file.Fd())
	return newAgents(append(agents, sshprovider.AgentConfig{Paths: []string{path}}), "setting ssh_agent_key")
}

// newAgents returns the agents as one service of the client. BuildKit's error may show a part of the key.
func newAgents(agents []sshprovider.AgentConfig, setting string) (session.Attachable, error) {
	service, err := sshprovider.NewSSHAgentProvider(agents)
	if err != nil {
		return nil, fmt.Errorf("the ssh key (%s) cannot be used: "+
			"set a private key in PEM form, with all of its lines, without a passphrase", setting)
	}
	return service, nil
}
