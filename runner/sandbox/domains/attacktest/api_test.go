package attacktest

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	contentapi "github.com/containerd/containerd/api/services/content/v1"
	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/filesync"
	"github.com/tonistiigi/fsutil"
)

// In this file the attacker uses BuildKit's API in place of a Dockerfile.

func readContent(ctx context.Context, w world) (bool, error) {
	victim := build{
		dockerfile: w.dockerfileFrom(w.private.repository+"@"+w.private.digest, "cp /etc/note /got"),
		login:      w.private.login,
	}
	if _, err := victim.run(ctx, w.victim); err != nil {
		return false, err
	}
	c, err := client.New(ctx, w.attacker)
	if err != nil {
		return false, err
	}
	defer c.Close()
	content, err := c.ContentClient().Read(ctx, &contentapi.ReadContentRequest{Digest: w.private.digest})
	if err != nil {
		return false, err
	}
	message, err := content.Recv()
	if err != nil {
		return false, ctx.Err() // refused
	}
	return len(message.Data) > 0, nil
}

func readHistory(ctx context.Context, w world) (bool, error) {
	victim := build{
		dockerfile: w.dockerfile("touch /got"),
		attributes: map[string]string{"label:victim": w.key},
	}
	if _, err := victim.run(ctx, w.victim); err != nil {
		return false, err
	}
	c, err := client.New(ctx, w.attacker)
	if err != nil {
		return false, err
	}
	defer c.Close()
	records, err := c.ControlClient().ListenBuildHistory(ctx, &controlapi.BuildHistoryRequest{EarlyExit: true})
	if err != nil {
		return false, err
	}
	for {
		event, err := records.Recv()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if event.GetRecord().GetFrontendAttrs()["label:victim"] == w.key {
			return true, nil
		}
	}
}

// LLB may name the session that a directory is read from.
func readSession(ctx context.Context, w world) (bool, error) {
	dir, err := os.MkdirTemp("", "attack-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "got"), []byte("confidential"), 0o600); err != nil {
		return false, err
	}
	files, err := fsutil.NewFS(dir)
	if err != nil {
		return false, err
	}
	c, err := client.New(ctx, w.victim)
	if err != nil {
		return false, err
	}
	defer c.Close()
	s, err := session.NewSession(ctx, w.key)
	if err != nil {
		return false, err
	}
	s.Allow(filesync.NewFSSyncProvider(filesync.StaticDirSource{"context": files}))
	go func() { _ = s.Run(ctx, c.Dialer()) }() // ends with Close
	defer s.Close()
	if err := w.waitForSession(ctx, s.ID()); err != nil {
		return false, err
	}
	source := llb.Local("context", llb.SessionID(s.ID()))
	definition, err := llb.Scratch().File(llb.Copy(source, "got", "/got")).Marshal(ctx, llb.LinuxAmd64)
	if err != nil {
		return false, err
	}
	got, err := build{definition: definition}.run(ctx, w.attacker)
	if err != nil {
		return false, ctx.Err() // refused
	}
	return strings.Contains(got, "confidential"), nil
}

// waitForSession waits until the victim's builder has a session. A build of the victim reads the session's files.
func (w world) waitForSession(ctx context.Context, id string) error {
	source := llb.Local("context", llb.SessionID(id))
	definition, err := llb.Scratch().File(llb.Copy(source, "got", "/other")).Marshal(ctx, llb.LinuxAmd64)
	if err != nil {
		return err
	}
	_, err = build{definition: definition}.run(ctx, w.victim)
	return err
}
