package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"slipway/config/secret"
)

// ErrSSHKey reports an unusable private key for submodules.
var ErrSSHKey = errors.New("the environment variable SSH_PRIVATE does not have a valid private key")

// knownHosts are the published keys of the servers that host most submodules.
// Sources: https://support.atlassian.com/bitbucket-cloud/docs/configure-ssh-and-two-step-verification/,
// https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/githubs-ssh-key-fingerprints,
// https://docs.gitlab.com/user/gitlab_com/#ssh-known_hosts-entries
const knownHosts = `bitbucket.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIazEu89wgQZ4bqs3d63QSMzYVa0MuJ2e2gKTKqu+UUO
bitbucket.org ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBPIQmuzMBuKdWeF4+a2sjSSpBK0iqitSQ+5BM9KhpexuGt20JpTVM7u5BDZngncgrqDMbWdxMWWOGtZ9UgbqgZE=
github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl
gitlab.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAfuCHKVTjquxvt6CM6tdG4SLp1Btn/nOeHHE5UOzRdf
`

// serveKey serves a private key to ssh through an agent's socket in dir, which must be private to the
// attempt. No file contains the key, and ssh can use but not read it. It returns the ssh command for git.
// stop ends the agent.
func serveKey(
	ctx context.Context,
	dir string,
	key secret.Secret,
	hosts string,
) (command string, stop func(), err error) {
	private, err := parseKey(key)
	if err != nil {
		return "", nil, err
	}
	keys := agent.NewKeyring()
	if err := keys.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		return "", nil, fmt.Errorf("%w: ssh does not support its type", ErrSSHKey)
	}
	known, socket := filepath.Join(dir, "known_hosts"), filepath.Join(dir, "ssh-agent")
	if err := os.WriteFile(known, []byte(knownHosts+hosts+"\n"), 0o600); err != nil {
		return "", nil, fmt.Errorf("write the known hosts: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return "", nil, fmt.Errorf("serve the ssh key: %w", err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // stopped
			}
			go func() {
				_ = agent.ServeAgent(keys, conn) // it ends with ssh
				_ = conn.Close()
			}()
		}
	}()
	return sshCommand(socket, known), func() { _ = listener.Close() }, nil
}

// sshCommand returns an ssh command that never prompts, accepts only known servers, and reads no
// configuration of the machine.
// Source: https://git-scm.com/docs/git#Documentation/git.txt-GITSSHCOMMAND
func sshCommand(socket, known string) string {
	command := "ssh -F /dev/null"
	for _, option := range []string{
		"BatchMode=yes", "IdentityAgent=" + configPath(socket), "IdentityFile=none", "ForwardAgent=no",
		"UserKnownHostsFile=" + configPath(known), "GlobalKnownHostsFile=/dev/null", "StrictHostKeyChecking=yes", "UpdateHostKeys=no",
		"ConnectTimeout=20", "ServerAliveInterval=20",
	} {
		command += " -o '" + strings.ReplaceAll(option, "'", `'\''`) + "'"
	}
	return command
}

// configPath quotes a path for ssh_config and escapes %, which ssh would expand.
func configPath(path string) string { return `"` + strings.ReplaceAll(path, "%", "%%") + `"` }

// pem matches a key, also one without its line ends.
var pem = regexp.MustCompile(`(?s)(-----BEGIN [A-Z ]+-----)(.*)(-----END [A-Z ]+-----)`)

// parseKey parses a key in the forms that Docker Hub's users have. It accepts the file's text, also with
// \n for each line end, and the text on one line, as a form field leaves it.
// Source: https://docs.docker.com/docker-hub/repos/manage/builds/advanced/#build-repositories-with-linked-private-submodules
func parseKey(key secret.Secret) (any, error) {
	text := strings.TrimSpace(strings.ReplaceAll(key.Reveal(), `\n`, "\n"))
	if parts := pem.FindStringSubmatch(text); parts != nil && !strings.Contains(parts[2], ":") {
		text = parts[1] + "\n" + strings.Join(strings.Fields(parts[2]), "\n") + "\n" + parts[3] + "\n"
	}
	private, err := ssh.ParseRawPrivateKey([]byte(text))
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		return nil, fmt.Errorf("%w: it has a passphrase: use a key without one", ErrSSHKey)
	case err != nil: // its text could contain parts of the key
		return nil, fmt.Errorf("%w: set the whole file, from -----BEGIN to -----END", ErrSSHKey)
	}
	return private, nil
}
