package buildservice_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/buildservice"
	"slipway/config/secret"
)

// pair returns two connected ends.
func pair(t *testing.T) (a, b buildservice.Conn) {
	t.Helper()
	a, file, err := buildservice.Pair()
	if err != nil {
		t.Fatal(err)
	}
	b, err = buildservice.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestARunKeepsItsToken(t *testing.T) {
	a, b := pair(t)
	sent := buildservice.Run{
		Attempt: "b1-2",
		Domain:  "b1",
		URL:     "https://gateway/b1",
		Token:   secret.New("hush"),
		Hooks:   true,
		Builder: "tcp://builder:9443",
	}
	if err := a.Send(buildservice.Request{Run: &sent}, nil); err != nil {
		t.Fatal(err)
	}
	var got buildservice.Request
	if _, err := b.Receive(&got); err != nil {
		t.Fatal(err)
	}
	if token := got.Run.Token.Reveal(); token != "hush" {
		t.Errorf("token: got %q, want hush", token)
	}
	equal := cmp.Comparer(func(a, b secret.Secret) bool { return a.Equal(b) })
	if diff := cmp.Diff(sent, *got.Run, equal); diff != "" {
		t.Errorf("run (-want +got):\n%s", diff)
	}
}

func TestAMessageCarriesOneFile(t *testing.T) {
	a, b := pair(t)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := a.Send(buildservice.RunnerReply{ID: 1}, file); err != nil {
		t.Fatal(err)
	}
	var reply buildservice.RunnerReply
	received, err := b.Receive(&reply)
	if err != nil {
		t.Fatal(err)
	}
	defer received.Close()
	data, err := io.ReadAll(received)
	if err != nil {
		t.Fatal(err)
	}
	if string(data) != "content" {
		t.Errorf("received file: got %q, want its content", data)
	}
}

func TestReceiveRejectsUnknownFieldsAndClosesTheFile(t *testing.T) {
	a, b := pair(t)
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := a.Send(map[string]string{"mount": "/etc"}, file); err != nil {
		t.Fatal(err)
	}
	var request buildservice.Request
	received, err := b.Receive(&request)
	if err == nil || !strings.Contains(err.Error(), "unknown field") {
		t.Errorf("got error %v, want an unknown field", err)
	}
	if received != nil {
		t.Error("got a file with the error, want none")
	}
}

func TestSendRejectsALongMessage(t *testing.T) {
	a, _ := pair(t)
	err := a.Send(buildservice.Reply{Refused: strings.Repeat("x", 70<<10)}, nil)
	if err == nil || !strings.Contains(err.Error(), "65536 are allowed") {
		t.Errorf("got error %v, want the limit", err)
	}
}

func TestReceiveReportsTheEnd(t *testing.T) {
	a, b := pair(t)
	a.Close()
	var reply buildservice.Reply
	if _, err := b.Receive(&reply); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want io.EOF", err)
	}
}

func TestOpenControlWithoutASocket(t *testing.T) {
	control, err := buildservice.OpenControl(func(string) string { return "" })
	if control != nil || err != nil {
		t.Errorf("without the variable: got %v, %v, want nothing", control, err)
	}
	for _, value := range []string{"x", "-1", "0", "99999"} {
		if _, err := buildservice.OpenControl(func(string) string { return value }); err == nil {
			t.Errorf("descriptor %s: got no error, want one", value)
		}
	}
}
