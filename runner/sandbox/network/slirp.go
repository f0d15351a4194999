package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"time"

	"slipway/config/process"
	"slipway/config/text"
	"slipway/runner/sandbox/netns"
)

// The networks of slirp4netns. It answers at some of their addresses itself, so no build reaches them.
// The IPv6 network and its addresses are fixed. Source: https://github.com/rootless-containers/slirp4netns
var (
	slirpNetwork4 = netip.MustParsePrefix("198.19.0.0/24")
	slirpNetwork6 = netip.MustParsePrefix("fd00::/64")
)

// Numbers of addresses in the networks of slirp4netns.
const (
	slirpGateway = 2
	slirpMember6 = 0x100
)

// slirpStart bounds the start of slirp4netns.
const slirpStart = 5 * time.Second

// maxOutput and maxLine bound the output of slirp4netns that an error contains, in bytes.
const (
	maxOutput = 2 << 10
	maxLine   = 1 << 10
)

// A slirpUplink is a process of slirp4netns. It is in the host's network and has an interface in a router.
type slirpUplink struct{ process *process.Process }

// Close ends slirp4netns.
func (u slirpUplink) Close() error {
	u.process.End(syscall.SIGKILL)
	return nil
}

// slirpArgs returns the arguments of slirp4netns for a namespace. It reaches no loopback address of the
// host, and does not forward DNS queries.
func slirpArgs(namespace string, versions []family) []string {
	args := []string{
		"--configure", "--mtu=" + fmt.Sprint(defaultMTU), "--cidr=" + slirpNetwork4.String(),
		"--disable-host-loopback", "--disable-dns", "--enable-seccomp", "--ready-fd=3", "--netns-type=path",
	}
	if hasIPv6(versions) {
		args = append(args, "--enable-ipv6")
	}
	return append(args, namespace, uplinkName)
}

// startSlirp starts slirp4netns and waits until it has connected the router.
func (r *Router) startSlirp(ctx context.Context) (_ io.Closer, err error) {
	ready, theirs, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start slirp4netns: %w", err)
	}
	defer ready.Close()
	//nolint:gosec,noctx // the caller's program; Close ends it
	cmd := exec.Command(r.options.Slirp, slirpArgs(netns.Path(r.file), r.versions)...)
	cmd.ExtraFiles = []*os.File{theirs}
	output := &text.LastLines{Limit: maxOutput}
	started, err := process.Start(
		cmd,
		process.Options{Line: func(line string) { fmt.Fprintln(output, text.OneLine(line, maxLine)) }},
	)
	theirs.Close()
	if err != nil {
		return nil, fmt.Errorf("start slirp4netns: %w", err)
	}
	u := slirpUplink{process: started}
	defer func() {
		if err != nil {
			err = errors.Join(err, u.Close())
		}
	}()
	stop := context.AfterFunc(ctx, func() { _ = ready.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := ready.SetReadDeadline(time.Now().Add(slirpStart)); err != nil {
		return nil, fmt.Errorf("start slirp4netns: %w", err)
	}
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		return nil, fmt.Errorf("start slirp4netns: %w: %s", err, text.OneLine(string(output.Bytes()), 0))
	}
	if !hasIPv6(r.versions) {
		return u, nil
	}
	// Router advertisements would set these, but a second or two later.
	return u, errors.Join(
		r.links.addAddress(uplinkName, bridgeAddress(slirpNetwork6, slirpMember6)),
		r.links.addDefaultRoute(uplinkName, addressAt(slirpNetwork6, slirpGateway)),
	)
}
