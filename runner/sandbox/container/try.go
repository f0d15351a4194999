package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"slipway/runner/sandbox/disk"
	"slipway/runner/sandbox/guest"
	"slipway/runner/sandbox/rootfs"
)

// The size of the disk of a sandbox that runs nothing, without the files that are copied from the machine.
const (
	tryBytes = 64 << 20
	tryFiles = 4096
)

// Try runs a program in a sandbox, and returns an error if that does not work on this machine.
// Namespaces, seccomp, AppArmor and a masked /proc each deny different calls, so only a real start shows
// whether a sandbox works.
func (h *Host) Try(ctx context.Context) (err error) {
	bytes, files, err := h.files.Copied()
	if err != nil {
		return fmt.Errorf("try a sandbox: %w", err)
	}
	d, err := disk.New(ctx, disk.Options{Dir: h.dir, Bytes: tryBytes + 2*bytes, Inodes: tryFiles + 2*files})
	if err != nil {
		return fmt.Errorf("try a sandbox: %w", err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	workspace := filepath.Join(d.Path(), "workspace")
	if err := os.Mkdir(workspace, 0o700); err != nil {
		return fmt.Errorf("try a sandbox: %w", err)
	}
	c, err := h.Start(ctx, Options{Disk: d, Workspace: rootfs.Workspace{Dir: workspace, Owner: os.Getuid()}})
	if err != nil {
		return fmt.Errorf("try a sandbox: %w", err)
	}
	defer func() { err = errors.Join(err, c.Close(context.WithoutCancel(ctx))) }()
	status, err := c.Client().Run(ctx, guest.Command{Args: []string{"/bin/true"}})
	if err != nil {
		return fmt.Errorf("try a sandbox: %w", err)
	}
	if status != (guest.Status{}) {
		return fmt.Errorf("try a sandbox: /bin/true ended with %s", status)
	}
	return nil
}
