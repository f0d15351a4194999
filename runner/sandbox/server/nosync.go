package server

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// skipSyncs makes sync calls of this process and its children succeed without writing data to the disk.
// It is only for a state directory that is removed with the process. So a crash of the machine loses no
// data. It saves time: a small build makes 400 sync calls, and dpkg in a RUN step makes more.
// `systemd-nspawn --suppress-sync` does the same. skipSyncs fails on other processors than amd64 and
// arm64.
// Source: https://man7.org/linux/man-pages/man2/seccomp.2.html
func skipSyncs() error {
	arch, known := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]
	if !known {
		return fmt.Errorf("skip syncs: processor %s is not supported", runtime.GOARCH)
	}
	raw, err := bpf.Assemble(syncFilter(arch))
	if err != nil {
		return fmt.Errorf("skip syncs: %w", err)
	}
	program := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		program[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]} //nolint:gosec // a dozen
	const flags = unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags,
		uintptr(unsafe.Pointer(&filter))) //nolint:gosec // seccomp(2) takes a pointer
	switch {
	case errno != 0:
		return fmt.Errorf("skip syncs: %w", errno)
	case thread != 0:
		return fmt.Errorf("skip syncs: thread %d has a filter of its own", thread)
	}
	return nil
}

// syncFilter returns a filter that makes sync calls return success. It allows all other calls, and all
// calls of programs for another processor.
func syncFilter(arch uint32) []bpf.Instruction {
	const numberAt, archAt, word = 0, 4, 4 // offsets and size in struct seccomp_data
	calls := []uint32{unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNC, unix.SYS_SYNCFS}
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: archAt, Size: word},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: arch, SkipTrue: uint8(len(calls) + 1)}, //nolint:gosec // a handful
		bpf.LoadAbsolute{Off: numberAt, Size: word},
	}
	for i, call := range calls {
		skip := uint8(len(calls) - i) //nolint:gosec // a handful
		program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: call, SkipTrue: skip})
	}
	return append(program, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}, bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO})
}
