// Command fakebitbucket serves a bitbuckettest with one repository, for clients in other modules and
// languages. It prints one line of JSON, a World, and serves until its standard input ends:
//
//	go run ./plugin/bitbucket/bitbuckettest/fakebitbucket [-request-limit 1000]
//
// The tests in the module clients start it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"slipway/plugin/bitbucket/bitbuckettest"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "fakebitbucket:", err)
		os.Exit(1)
	}
}

// run serves until the input ends.
func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("fakebitbucket", flag.ContinueOnError)
	limit := flags.Int("request-limit", 0, "requests per hour and credential; 0 = no limit")
	if err := flags.Parse(args); err != nil {
		return err
	}
	root, err := os.MkdirTemp("", "fakebitbucket-*")
	if err != nil {
		return fmt.Errorf("create a directory for repositories: %w", err)
	}
	defer os.RemoveAll(root)
	server, err := bitbuckettest.New(bitbuckettest.Options{Root: root, RequestLimit: *limit, UnstableOrder: true})
	if err != nil {
		return err
	}
	defer server.Close()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen on the loopback address: %w", err)
	}
	server.SetURL("http://" + listener.Addr().String())
	web := &http.Server{Handler: server, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(listener) }()
	defer web.Close()
	world, err := build(ctx, server)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(world); err != nil { //nolint:gosec // sample credentials for the client
		return fmt.Errorf("print the URL: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, in) // until its end
	}()
	select {
	case err := <-failed:
		return errors.Join(errors.New("the server stopped"), err)
	case <-ended:
		return nil
	}
}
