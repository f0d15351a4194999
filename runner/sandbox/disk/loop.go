package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// loopAttempts bounds the retries when other processes take the free loop device first.
const loopAttempts = 50

// mountLoop mounts the file system of a file with these flags. The kernel frees the loop device with the last mount of it.
// https://man7.org/linux/man-pages/man4/loop.4.html
func mountLoop(backing *os.File, path string, flags uintptr) error {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("%w: load the kernel module loop, or add the machine's loop devices to the container", err)
	}
	defer control.Close()
	for range loopAttempts {
		device, err := attach(control, backing)
		if errors.Is(err, unix.EBUSY) {
			continue
		}
		if err != nil {
			return err
		}
		// Without noinit_itable, the kernel writes all tables of inodes in the background. nobarrier:
		// nothing of the disk is used after a crash of the machine.
		err = unix.Mount(device.Name(), path, "ext4", flags, "noinit_itable,nobarrier")
		device.Close()
		if err != nil {
			return fmt.Errorf("mount %s: %w", device.Name(), err)
		}
		return nil
	}
	return fmt.Errorf("no free loop device in %d attempts", loopAttempts)
}

// attach connects a free loop device with the file. The error is unix.EBUSY if another process took
// the device first.
func attach(control, backing *os.File) (*os.File, error) {
	number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return nil, fmt.Errorf("find a free loop device: %w", err)
	}
	device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", number), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	config := unix.LoopConfig{Fd: uint32(backing.Fd())} //nolint:gosec // G115: descriptors are small
	// Without direct I/O, the content is in the page cache twice.
	config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR | unix.LO_FLAGS_DIRECT_IO
	if err := unix.IoctlLoopConfigure(int(device.Fd()), &config); err != nil {
		device.Close()
		return nil, fmt.Errorf("configure %s: %w", device.Name(), err)
	}
	return device, nil
}

// ext4Shutdown is EXT4_IOC_SHUTDOWN, and noLogFlush its flag EXT4_GOING_FLAGS_NOLOGFLUSH.
// https://github.com/torvalds/linux/blob/master/include/uapi/linux/ext4.h
const (
	ext4Shutdown = 0x8004587d
	noLogFlush   = 2
)

// shutDown stops all I/O of the file system, so that the kernel does not write its content to the disk.
// Close also works without it, but takes longer.
func shutDown(path string, backing *os.File) {
	if backing == nil {
		return
	}
	root, err := os.Open(path)
	if err != nil {
		return
	}
	defer root.Close()
	_ = unix.IoctlSetPointerInt(int(root.Fd()), ext4Shutdown, noLogFlush) // only to save time
}

// isAttached reports whether a loop device of this machine has the file.
func isAttached(file *os.File) (bool, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		return false, err
	}
	// The kernel makes this directory when a device gets a file.
	dirs, err := filepath.Glob("/sys/block/loop*/loop")
	if err != nil {
		return false, err
	}
	for _, dir := range dirs {
		device, err := os.Open(filepath.Join("/dev", filepath.Base(filepath.Dir(dir))))
		if err != nil {
			continue // it was removed meanwhile
		}
		info, err := unix.IoctlLoopGetStatus64(int(device.Fd()))
		_ = device.Close() // nothing was written
		if err == nil && info.Device == stat.Dev && info.Inode == stat.Ino {
			return true, nil
		}
	}
	return false, nil
}
