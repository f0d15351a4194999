package spec

// PushCredentials returns the credentials that push the image. The runner and, with PushHooks, the
// hooks that push use them, and the build never does.
func (s Spec) PushCredentials() []RegistryCredential { return s.credentials(false) }

// BuildCredentials returns the credentials that a builder uses for base images: the
// pull-only ones.
func (s Spec) BuildCredentials() []RegistryCredential { return s.credentials(true) }

// credentials returns the credentials with this value of PullOnly. Of the others it keeps only the fact
// that a registry uses plain HTTP, without user name and password.
func (s Spec) credentials(pullOnly bool) (all []RegistryCredential) {
	for _, r := range s.Registries {
		if r.PullOnly == pullOnly {
			all = append(all, r)
		}
	}
	for _, r := range s.Registries { // last: if both name one host, the credential must come first
		if r.PullOnly != pullOnly && r.Insecure {
			all = append(all, RegistryCredential{Host: r.Host, Insecure: true, PullOnly: pullOnly})
		}
	}
	return all
}
