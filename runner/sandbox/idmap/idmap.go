// Package idmap mounts directories of the machine in a sandbox, with other owners. The kernel translates
// the owner of each file when the file is accessed through such a mount, and nothing on the disk changes.
// https://man7.org/linux/man-pages/man2/mount_setattr.2.html
package idmap

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Count is the number of user and group IDs of a sandbox: the usual ones, with nobody (65534).
const Count = 65536

// IDs are the user and group IDs of a sandbox, as the caller sees them: ID n inside is First+n outside.
type IDs struct {
	First int // root of the sandbox
	Count int // at least 65535, so that there is nobody
}

// Mappings returns the ID map of the sandbox's user namespace.
func (ids IDs) Mappings() []syscall.SysProcIDMap {
	return []syscall.SysProcIDMap{{ContainerID: 0, HostID: ids.First, Size: ids.Count}}
}

// Owned returns the ID map of a mount that makes one user's files belong to root of the sandbox. All
// other IDs of the sandbox are the same on the disk, so that programs inside can change owners. Example:
// with First 300000, the file of user 1000 is root's inside, and a file that user 33 makes inside
// belongs to 300033 on the disk.
//
// If the owner is itself one of the sandbox's IDs, it takes the place of root on the disk.
func (ids IDs) Owned(owner int) []syscall.SysProcIDMap {
	root, last := ids.First, ids.First+ids.Count-1
	if owner == root {
		return ids.same(root, last)
	}
	all := []syscall.SysProcIDMap{{ContainerID: owner, HostID: root, Size: 1}}
	if owner < root || owner > last {
		return append(all, ids.same(root+1, last)...)
	}
	all = append(all, syscall.SysProcIDMap{ContainerID: root, HostID: owner, Size: 1})
	all = append(all, ids.same(root+1, owner-1)...)
	return append(all, ids.same(owner+1, last)...)
}

// same returns the map of a range to itself.
func (IDs) same(first, last int) []syscall.SysProcIDMap {
	if last < first {
		return nil
	}
	return []syscall.SysProcIDMap{{ContainerID: first, HostID: first, Size: last - first + 1}}
}

// Namespace makes a user namespace with an ID map, as a file for Mount. In the map, ContainerID is the
// ID on the disk, and HostID the one that the caller sees.
func Namespace(mappings []syscall.SysProcIDMap) (*os.File, error) {
	return NamespaceOf(mappings, mappings)
}

// NamespaceOf is like Namespace, with different maps of users and groups.
func NamespaceOf(users, groups []syscall.SysProcIDMap) (*os.File, error) {
	// The process stops before its first instruction and is killed. So the choice of the program does
	// not matter, and it never runs.
	cmd := exec.Command("/proc/self/exe") //nolint:noctx // it never runs
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: users,
		GidMappings: groups,
		Ptrace:      true,
		Pdeathsig:   syscall.SIGKILL,
	}
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("make a user namespace: %w", err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}()
	file, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid))
	if err != nil {
		return nil, fmt.Errorf("open a user namespace: %w", err)
	}
	return file, nil
}

// Options configure Mount.
type Options struct {
	// Namespace has the ID map; nil = owners stay as they are.
	Namespace *os.File
	ReadOnly  bool
	// Owner is the required owner of the source, if Checked. With the check, another user cannot replace
	// the directory to give the sandbox other files.
	Owner   int
	Checked bool
}

// ErrNotSupported reports that the kernel cannot map the IDs of this file system here. Reasons are a kernel
// before 5.12, the type of the file system, and a caller that does not own the file system's user
// namespace.
var ErrNotSupported = errors.New("IDs of this file system cannot be mapped here")

// Mount mounts a file or directory at another place, with nosuid and nodev. It takes only the mount of
// the source, and none below it. The source must not be a symbolic link.
func Mount(source, target string, o Options) error {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_SYMLINK_NOFOLLOW)
	tree, err := unix.OpenTree(unix.AT_FDCWD, source, flags)
	if err != nil {
		return fmt.Errorf("open %s for a mount: %w", source, err)
	}
	defer unix.Close(tree)
	if err := o.check(tree, source); err != nil {
		return err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if o.ReadOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if o.Namespace != nil {
		attr.Attr_set |= unix.MOUNT_ATTR_IDMAP
		attr.Userns_fd = uint64(o.Namespace.Fd())
	}
	err = unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr)
	switch {
	case o.Namespace != nil && isNotSupported(err):
		return fmt.Errorf("%w: %s: %w", ErrNotSupported, source, err)
	case err != nil:
		return fmt.Errorf("set the attributes of a mount of %s: %w", source, err)
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount %s: %w", source, err)
	}
	return nil
}

func (o Options) check(tree int, source string) error {
	if !o.Checked {
		return nil
	}
	var s unix.Stat_t
	if err := unix.Fstat(tree, &s); err != nil {
		return fmt.Errorf("mount %s: %w", source, err)
	}
	if int64(s.Uid) != int64(o.Owner) {
		return fmt.Errorf("mount %s: it belongs to user %d, want %d", source, s.Uid, o.Owner)
	}
	return nil
}

func isNotSupported(err error) bool {
	for _, errno := range []syscall.Errno{unix.EPERM, unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
