package disk

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// trimRange is struct fstrim_range.
type trimRange struct{ start, length, minimum uint64 }

// fitrim is FITRIM, _IOWR('X', 121, struct fstrim_range).
// https://man7.org/linux/man-pages/man2/ioctl_fitrim.2.html
const fitrim = 0xc0185879

// Trim gives the free blocks of a mounted disk back to the machine. Call it at the end of a mount only,
// and only once: the kernel remembers which blocks it has trimmed until it unmounts the disk.
func Trim(dir string) error {
	root, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("trim a disk: %w", err)
	}
	defer root.Close()
	all := trimRange{length: 1<<64 - 1}
	//nolint:gosec // ioctl(2) takes a pointer
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, root.Fd(), fitrim, uintptr(unsafe.Pointer(&all)))
	runtime.KeepAlive(&all)
	if errno != 0 {
		return fmt.Errorf("trim a disk: %w", errno)
	}
	return nil
}
