package service

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strconv"

	"slipway/config/buildservice"
	"slipway/runner/attemptca"
	"slipway/runner/sandbox/rootfs"
)

// httpsPort is the port that names of registries leave out.
const httpsPort = 443

// trustFiles returns the files that make programs of a sandbox trust an authority for the sites. It
// fails for a certificate that could sign for other names.
func trustFiles(authority string, sites []buildservice.Site) ([]attemptca.File, error) {
	if authority == "" {
		return nil, nil
	}
	var hosts, registries []string
	for _, s := range sites {
		hosts = append(hosts, s.Host)
		name := s.Host
		if s.Address.Port() != httpsPort {
			name = net.JoinHostPort(s.Host, strconv.Itoa(int(s.Address.Port())))
		}
		registries = append(registries, name)
	}
	trusted, err := attemptca.Parse([]byte(authority), hosts)
	if err != nil {
		return nil, err
	}
	system, err := attemptca.SystemBundle("/")
	if err != nil {
		return nil, err
	}
	files, err := trusted.Files(system, registries)
	if err != nil {
		return nil, err
	}
	return append(files, attemptca.File{Path: buildservice.SandboxBundle, Content: trusted.Bundle(system)}), nil
}

// siteFiles returns the files that a sandbox with sites has in place of the machine's.
func siteFiles(p Place) []rootfs.File {
	var all []rootfs.File
	if slices.ContainsFunc(p.Sites, buildservice.Site.Named) {
		all = append(all, rootfs.File{Path: "/etc/hosts", Data: hostsFile(p.Sites)})
	}
	for _, f := range p.Trust {
		all = append(all, rootfs.File{Path: f.Path, Data: f.Content, Replace: f.Replace})
	}
	return all
}

// hostsFile returns the file /etc/hosts of a sandbox with sites.
func hostsFile(sites []buildservice.Site) []byte {
	var b bytes.Buffer
	b.WriteString(rootfs.Hosts)
	for _, s := range sites {
		if s.Named() {
			fmt.Fprintf(&b, "%s\t%s\n", s.Address.Addr(), s.Host)
		}
	}
	return b.Bytes()
}
