package sourcetest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"slipway/config/secret"
)

// An SSH serves the repositories of a Remote by ssh, to one key.
type SSH struct {
	Address    string        // host:port
	Key        secret.Secret // the accepted private key
	KnownHosts string        // its own key, as a line of known_hosts

	remote *Remote
	config *ssh.ServerConfig
}

// SSH starts a server that ends with the test.
func (r *Remote) SSH(t testing.TB) *SSH {
	t.Helper()
	mine, text := newKey(t)
	own, _ := newKey(t)
	s := &SSH{Key: secret.New(text), remote: r}
	s.config = &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if string(key.Marshal()) != string(mine.PublicKey().Marshal()) {
				return nil, ssh.ErrNoAuth
			}
			return &ssh.Permissions{}, nil
		},
	}
	s.config.AddHostKey(own)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	s.Address = listener.Addr().String()
	s.KnownHosts = knownhosts.Line([]string{s.Address}, own.PublicKey())
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

// URL returns the URL of a repository.
func (s *SSH) URL(name string) string { return "ssh://git@" + s.Address + "/" + name }

// newKey returns a new key, and its text in the form of ssh-keygen.
func newKey(t testing.TB) (ssh.Signer, string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, string(pem.EncodeToMemory(block))
}

func (s *SSH) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil {
		return // the client reports it
	}
	go ssh.DiscardRequests(requests)
	for channel := range channels {
		stream, requests, err := channel.Accept()
		if err != nil {
			return
		}
		go s.session(stream, requests)
	}
}

// uploadPack is the only command of the server.
var uploadPack = regexp.MustCompile(`^git-upload-pack '/([a-z]+)'$`)

func (s *SSH) session(stream ssh.Channel, requests <-chan *ssh.Request) {
	defer func() { _ = stream.Close() }()
	for r := range requests {
		_ = r.Reply(r.Type == "exec" || r.Type == "env", nil)
		if r.Type != "exec" {
			continue
		}
		var command struct{ Text string }
		status := struct{ Code uint32 }{1}
		if err := ssh.Unmarshal(r.Payload, &command); err == nil && s.upload(stream, command.Text) == nil {
			status.Code = 0
		}
		_, _ = stream.SendRequest("exit-status", false, ssh.Marshal(status))
		return
	}
}

func (s *SSH) upload(stream ssh.Channel, command string) error {
	parts := uploadPack.FindStringSubmatch(command)
	if parts == nil {
		return io.ErrUnexpectedEOF
	}
	dir := filepath.Join(s.remote.dir, parts[1])   // the name has only [a-z]
	cmd := exec.Command("git", "upload-pack", dir) //nolint:noctx // it ends with its connection
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.remote.dir}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = stream, stream.Stderr()
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(stdin, stream)
		_ = stdin.Close()
	}()
	return cmd.Wait()
}
