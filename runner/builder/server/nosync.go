package server

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// skipSyncs has the kernel answer at once, to this process and all that it starts, what asks it to
// bring data to the disk. It is for a state that goes with the process: whatever ends the machine
// ends that, too. A small build asks four hundred times, and dpkg in a RUN more often than that.
// It is what `systemd-nspawn --suppress-sync` does.
// Source: https://man7.org/linux/man-pages/man2/seccomp.2.html
func skipSyncs() error {
	arch, known := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]
	if !known {
		return fmt.Errorf("skip syncs: not on %s", runtime.GOARCH)
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
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&filter))) //nolint:gosec // as seccomp(2) takes it
	switch {
	case errno != 0:
		return fmt.Errorf("skip syncs: %w", errno)
	case thread != 0:
		return fmt.Errorf("skip syncs: thread %d has a filter of its own", thread)
	}
	return nil
}

// syncFilter says "done" to the calls that sync, and lets pass all others, and those of programs for
// another processor.
func syncFilter(arch uint32) []bpf.Instruction {
	const numberAt, archAt, word = 0, 4, 4 // of struct seccomp_data
	calls := []uint32{unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNC, unix.SYS_SYNCFS}
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: archAt, Size: word},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: arch, SkipTrue: uint8(len(calls) + 1)}, //nolint:gosec // a handful
		bpf.LoadAbsolute{Off: numberAt, Size: word},
	}
	for i, call := range calls {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: call, SkipTrue: uint8(len(calls) - i)}) //nolint:gosec // a handful
	}
	return append(program, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}, bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO})
}
