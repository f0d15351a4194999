package rootfs

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// etcPatterns are the files and directories of /etc that a sandbox sees. The list leaves out keys,
// tokens, cron, mail, the machine's hosts and names, and settings of services. It also leaves out git's
// settings, which may have credentials. Accounts are written, not copied.
func etcPatterns() []string {
	return []string{
		"ImageMagick-*", "alternatives", "apt/apt.conf", "apt/apt.conf.d", "apt/keyrings", "apt/preferences",
		"apt/preferences.d", "apt/sources.list", "apt/sources.list.d", "apt/trusted.gpg", "apt/trusted.gpg.d",
		"bash.bashrc", "bash_completion.d", "ca-certificates", "ca-certificates.conf", "debconf.conf",
		"debian_version", "dpkg", "fonts", "gai.conf", "groff", "host.conf", "inputrc", "issue", "issue.net",
		"java-*", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "locale.alias", "locale.gen", "localtime",
		"login.defs", "lsb-release", "magic", "magic.mime", "maven/logging", "maven/m2.conf", "mime.types",
		"mke2fs.conf", "networks", "nsswitch.conf", "os-release", "pam.conf", "pam.d", "perl", "profile",
		"profile.d", "protocols", "python*", "rpc", "security", "services", "sgml", "shells", "skel",
		"ssl/certs", "ssl/openssl.cnf", "terminfo", "timezone", "vim", "xattr.conf", "xml",
	}
}

func copyEtc(from, to string) error {
	for _, pattern := range etcPatterns() {
		matches, err := filepath.Glob(filepath.Join(from, pattern))
		if err != nil {
			return err
		}
		for _, match := range matches {
			if err := copyTree(match, to+strings.TrimPrefix(match, from)); err != nil {
				return err
			}
		}
	}
	return nil
}

// hasCredential reports whether a text has a URL with a user name. Package sources and proxies may have
// one, with a password.
func hasCredential(text []byte) bool {
	return regexp.MustCompile(`://[^/\s"'<>@]+@`).Match(text)
}

// Hosts is the file /etc/hosts of a sandbox.
const Hosts = "127.0.0.1\tlocalhost build\n::1\tlocalhost ip6-localhost ip6-loopback\n"

// writeAccounts writes the accounts of the sandbox with their rights, its name and its addresses.
func writeAccounts(etc string) error {
	files := map[string]string{
		"hostname":    "build\n",
		"hosts":       Hosts,
		"resolv.conf": "",
	}
	if _, err := os.Stat("/usr/bin/sudo"); err == nil {
		// Hooks for a user of a CI call sudo. Root needs a rule, too. The machine's own rules are private.
		files["sudoers"] = "root ALL=(ALL:ALL) NOPASSWD: ALL\n"
	}
	for _, name := range []string{"passwd", "group"} {
		text, err := os.ReadFile(filepath.Join("/etc", name))
		if err != nil {
			return err
		}
		files[name] = systemAccounts(string(text))
	}
	files["shadow"] = withoutPasswords(files["passwd"], ":*:19000:0:99999:7:::")
	files["gshadow"] = withoutPasswords(files["group"], ":*::")
	for name, text := range files {
		mode := os.FileMode(0o644)
		if strings.HasSuffix(name, "shadow") || name == "sudoers" {
			mode = 0o440
		}
		if err := os.WriteFile(filepath.Join(etc, name), []byte(text), mode); err != nil {
			return err
		}
	}
	return nil
}

// firstPerson is the first ID of a person's account. nobody is the ID of the last system account.
// https://www.debian.org/doc/debian-policy/ch-opersys.html#uid-and-gid-classes
const (
	firstPerson = 1000
	nobody      = 65534
)

// systemAccounts returns the system accounts in a passwd or group file, without the accounts of people.
// The sandbox needs them, because dpkg fails if its file statoverride names an account that does not
// exist. Comments and members are names of people, so they are removed.
func systemAccounts(text string) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) != 4 && len(fields) != 7 {
			continue
		}
		id, err := strconv.Atoi(fields[2])
		if err != nil || id >= firstPerson && id != nobody {
			continue
		}
		if len(fields) == 4 {
			fields[3] = "" // members of a group
		} else {
			fields[4] = "" // comment
		}
		fields[1] = "x"
		kept.WriteString(strings.Join(fields, ":") + "\n")
	}
	return kept.String()
}

// withoutPasswords returns a shadow file for the accounts of a passwd or group file. Programs such as su
// refuse accounts that are not in it. rest is the text after each name.
// https://man7.org/linux/man-pages/man5/shadow.5.html
func withoutPasswords(accounts, rest string) string {
	var text strings.Builder
	for line := range strings.Lines(accounts) {
		name, _, _ := strings.Cut(line, ":")
		text.WriteString(name + rest + "\n")
	}
	return text.String()
}
