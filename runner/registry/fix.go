package registry

import "fmt"

// A Place is the use of a registry. Fix names its settings.
type Place struct {
	Host  string // the registry
	Image string // what names the image, for example "PLUGIN_REPO"
	Login string // what sets a login, for example "PLUGIN_LOGINS"
	// Insecure is what marks the registry insecure, and Certs the directory of its authorities.
	Insecure string
	Certs    string
	Mirror   string // what sets a mirror of Docker Hub; empty = none, or the registry has no mirror
	Proxy    string // what sets an HTTP proxy
	// Docker is the change that makes an image, or a cache, have Docker's media types; empty = it has them.
	Docker string
	Reads  bool // an image is read, not written
	API    bool // no image is read or written: a login is checked at the registry's API
}

// Fix returns the fix for a failure, or "" for KindOther.
func (k Kind) Fix(p Place) string {
	switch k {
	case KindLogin, KindDenied:
		return fmt.Sprintf("check %s: user name, password, and permissions at %s", p.Login, p.Host)
	case KindNoRepository:
		return p.fixMissing()
	case KindTooLarge:
		return p.fixTooLarge()
	case KindTooMany:
		fix := fmt.Sprintf("%s limits requests: wait, or set a login (%s)", p.Host, p.Login)
		if p.Mirror != "" {
			fix += ", or a mirror (" + p.Mirror + ")"
		}
		return fix
	case KindServer:
		return fmt.Sprintf("the registry %s failed: check its log or status page, and then run the build again; "+
			"if it is the wrong registry, correct %s", p.Host, p.Image)
	case KindTag:
		return fmt.Sprintf("push another tag, or let tags change at %s", p.Host)
	case KindManifest:
		return p.fixManifest()
	case KindUnimplemented:
		return fmt.Sprintf(
			"the registry %s does not support this: check that %s names a registry that is not read-only",
			p.Host,
			p.Image,
		)
	case KindCertificate:
		return fmt.Sprintf(
			"put the certificate of its authority at %s/%s/ca.crt, or set %s",
			p.Certs,
			p.Host,
			p.Insecure,
		)
	case KindPlainHTTP:
		return fmt.Sprintf("%s uses plain HTTP: set %s", p.Host, p.Insecure)
	case KindNoHost:
		return fmt.Sprintf("check the host name in %s, and the name servers there", p.Image)
	case KindNotListening:
		return fmt.Sprintf("check host and port in %s, and that the registry %s runs", p.Image, p.Host)
	case KindNoAnswer:
		return fmt.Sprintf("check the host in %s, the firewall on the way to %s, and the proxy (%s)",
			p.Image, p.Host, p.Proxy)
	}
	return ""
}

func (p Place) fixMissing() string {
	if p.API {
		return fmt.Sprintf("%s does not answer as a registry does (/v2/): correct %s", p.Host, p.Image)
	}
	if p.Reads {
		return "correct " + p.Image + ", and its tag"
	}
	return fmt.Sprintf("create the repository at %s, or correct %s", p.Host, p.Image)
}

func (p Place) fixTooLarge() string {
	limit, smaller := "uploads", ", or make the layers of the image smaller"
	if p.Reads || p.API {
		limit, smaller = "requests", ""
	}
	return fmt.Sprintf("%s, or a proxy before it, limits the size of %s: raise its limit "+
		"(nginx: client_max_body_size)%s; if it is the wrong registry, correct %s", p.Host, limit, smaller, p.Image)
}

func (p Place) fixManifest() string {
	if p.Docker == "" {
		return fmt.Sprintf("the registry %s does not accept the manifest: check its log, or correct %s",
			p.Host, p.Image)
	}
	return fmt.Sprintf("the registry %s may not know manifests of OCI: %s", p.Host, p.Docker)
}
