// Package container runs repository code in a sandbox, at level "full". Each attempt has one container
// of runc, with our own program as process 1. Process 1 runs commands one after another. Package guest
// has its protocol and client.
//
// # Inside
//
// A command in the sandbox is root of a user namespace, with IDs that no other sandbox of this process
// uses. It has PID, mount, IPC, UTS, cgroup and network namespaces, the seccomp profile of Docker, and
// the capabilities of a RUN step without NET_RAW. It sees:
//
//   - the machine's programs, with a writable layer (package rootfs); apt-get install works
//   - the workspace, in rootfs.WorkspacePath; its files belong to root
//   - a /proc of its own, and devices such as /dev/null
//   - a network namespace of the caller, or one with a loopback interface only
//
// There is no /sys, no cgroup file system, no socket and no descriptor of the machine. Set-user-ID bits
// have no effect.
//
// # Use
//
//	host, err := container.New(ctx, container.HostOptions{Dir: "/var/lib/slipway/sandbox"}) // once
//	defer host.Close()
//
//	d, err := disk.New(ctx, disk.Options{Dir: dir, Bytes: size})                        // per attempt
//	workspace := filepath.Join(d.Path(), "workspace")                                   // owned by the runner
//	c, err := host.Start(ctx, container.Options{
//		Disk:      d,
//		Workspace: rootfs.Workspace{Dir: workspace, Owner: runnerUID},
//		Network:   namespace.Path(),                                                // package network
//		Cgroup:    group.Path(),                                                    // package cgroup
//		Files:     []rootfs.File{{Path: "/etc/resolv.conf", Data: resolvers}},
//	})
//	status, err := c.Client().Run(ctx, guest.Command{...})  // in this process, or:
//	socket, err := c.TakeSocket()                           // for guest.NewClient in the runner's process
//	err = c.Close(ctx)                                      // then close the disk
//
// A program that calls Start must check guest.Requested first in its main function. If it reports true,
// the program must call guest.Main.
//
// # Requirements
//
// The caller is root of the machine, or root of a user namespace with at least 65536 IDs. It should be
// process 1 of a PID namespace, with a mount namespace and a /proc of its own. Then the kernel ends all
// sandboxes, and removes their mounts, when the caller is killed. Elsewhere a sandbox ends when all
// processes with its socket have ended, and disk.Sweep removes the mounts at the next start.
//
// Root of the sandbox must be able to traverse the directories of HostOptions.Dir and of the disk.
//
// In a user namespace, the memory and CPU of a sandbox have no limit without a cgroup, and the disk is a
// tmpfs. Options.Processes limits processes there. Existing files of the machine can be deleted, but not
// changed.
package container
