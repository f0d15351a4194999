package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/urfave/cli/v3"

	"slipway/config/identity"
	"slipway/config/secret"
)

// serverName is the name of the builder's own certificate. The file is serverName + ".pem".
const serverName = "server"

// authorityTime is the validity of an authority. The certificates that it signs end earlier.
const authorityTime = 10 * 365 * 24 * time.Hour

// KeysCommand returns the command `slipway builder keys`.
func KeysCommand() *cli.Command {
	return &cli.Command{
		Name:      "keys",
		Usage:     "create the certificates of a builder and its clients",
		ArgsUsage: "DIRECTORY",
		Description: "Writes an authority (ca.pem, ca.key), server.pem for `slipway builder --tls`, and a file\n" +
			"for each client. It never changes existing files: run it again to add clients, or after removing\n" +
			"an expired file. Keep ca.key away from builders and clients.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{
				Name:  "host",
				Usage: "host name or address of the builder for its clients; creates server.pem",
			},
			&cli.StringSliceFlag{
				Name:  "client",
				Usage: "name of a client; creates NAME.pem",
				Value: []string{"client"},
			},
			&cli.StringFlag{
				Name: "domain",
				Usage: "cache domain of the clients; clients of different domains share no cache " +
					"(default: \"" + identity.DefaultDomain + "\")",
			},
			&cli.IntFlag{Name: "days", Usage: "validity of the certificates in days", Value: 825},
		},
		Action: func(_ context.Context, cmd *cli.Command) error {
			request, err := keyRequestOf(cmd)
			if err != nil {
				return cli.Exit(err, 2)
			}
			return request.write(cmd.Root().Writer)
		},
	}
}

// A keyRequest holds the arguments of `slipway builder keys`.
type keyRequest struct {
	dir      string
	subjects []subject
}

// subjectName matches names that are safe as file names: they contain no path separator and do not
// begin with a dot. maxSubjectName limits their length.
var subjectName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)

const maxSubjectName = 63

// keyRequestOf reads and checks the arguments.
func keyRequestOf(cmd *cli.Command) (keyRequest, error) {
	if cmd.NArg() != 1 {
		return keyRequest{}, errors.New("set one directory: slipway builder keys DIRECTORY --host builder.example.com")
	}
	if cmd.Int("days") < 1 {
		return keyRequest{}, fmt.Errorf("--days is %d: use 1 or more", cmd.Int("days"))
	}
	until := time.Now().AddDate(0, 0, cmd.Int("days"))
	domain := cmd.String("domain")
	if domain != "" && (len(domain) > maxSubjectName || !subjectName.MatchString(domain)) {
		return keyRequest{}, fmt.Errorf("--domain is %q: use lower-case letters, digits, dots and dashes", domain)
	}
	r := keyRequest{dir: cmd.Args().First()}
	if hosts := cmd.StringSlice("host"); len(hosts) > 0 {
		r.subjects = append(r.subjects, subject{name: serverName, hosts: hosts, until: until})
	}
	for _, name := range cmd.StringSlice("client") {
		if len(name) > maxSubjectName || !subjectName.MatchString(name) || name == serverName || name == "ca" {
			return keyRequest{}, fmt.Errorf(
				"--client is %q: use lower-case letters, digits, dots and dashes, but not ca or server",
				name,
			)
		}
		r.subjects = append(r.subjects, subject{name: name, domain: domain, until: until})
	}
	return r, nil
}

// write writes the missing files, and prints a line for each subject.
func (r keyRequest) write(w io.Writer) error {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return fmt.Errorf("make the directory: %w", err)
	}
	if len(r.subjects) > 0 && r.subjects[0].name != serverName {
		if _, err := os.Stat(filepath.Join(r.dir, authorityCert)); err != nil {
			return fmt.Errorf(
				"%s has no certificate of a builder yet: set --host to the builder's host name for its clients",
				r.dir,
			)
		}
	}
	a, err := openAuthority(r.dir, time.Now().Add(authorityTime))
	if err != nil {
		return err
	}
	for _, s := range r.subjects {
		line, err := r.writeOne(a, s)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// writeOne writes the file of a subject unless it exists, and returns a line that describes it.
func (r keyRequest) writeOne(a authority, s subject) (line string, err error) {
	path := filepath.Join(r.dir, s.name+".pem")
	if existing, err := os.ReadFile(path); err == nil {
		id, err := identity.Parse(secret.New(string(existing)))
		if err == nil && id.IsZero() {
			err = errors.New("it is empty")
		}
		if err != nil {
			return "", fmt.Errorf("%s exists, and %w: remove the file to create a new one", path, err)
		}
		if err := s.checkDomain(id); err != nil {
			return "", fmt.Errorf("%s exists, and %w: remove the file to create a new one", path, err)
		}
		return fmt.Sprintf("%s is unchanged, valid until %s, fingerprint %s",
			path, id.Expires().Format(time.DateOnly), id.Fingerprint()), nil
	}
	text, err := a.issue(s)
	if err != nil {
		return "", err
	}
	id, err := identity.Parse(text)
	if err != nil {
		return "", err
	}
	if err := writeNew(path, []byte(text.Reveal()), 0o600); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s for %s, valid until %s, fingerprint %s",
		path, s.use(), id.Expires().Format(time.DateOnly), id.Fingerprint()), nil
}

// checkDomain checks that an existing certificate has the domain that the subject should have. Without
// a domain, every certificate will do.
func (s subject) checkDomain(existing identity.Identity) error {
	if s.domain == "" {
		return nil
	}
	got, err := existing.Domain()
	if err == nil && got != s.domain {
		err = fmt.Errorf("its cache domain is %s", got)
	}
	return err
}

// use returns the setting that the subject's file is for.
func (s subject) use() string {
	if len(s.hosts) > 0 {
		return "slipway builder --tls"
	}
	if s.domain != "" {
		return "clients of cache domain " + s.domain +
			": SLIPWAY_BUILDER_TLS of the gateway, or setting builder_tls of a step"
	}
	return "its clients: SLIPWAY_BUILDER_TLS of the gateway, or setting builder_tls of a step"
}
