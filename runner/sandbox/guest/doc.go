// Package guest runs commands inside a sandbox. Its two halves communicate over one Unix socket:
//
//   - Process 1 of the sandbox is this program, started with the argument "sandbox-init". It calls Main,
//     which runs one command after another.
//   - A Client outside sends it commands.
//
// When a command ends, process 1 kills every process that it left behind. So nothing of one command can
// disturb the next one, or change files after its end. Then it sends the exit status. A background
// process that holds the output open delays nothing.
//
// # Trust
//
// Commands are hostile. They run as root of the same user namespace as process 1. Process 1 is not
// dumpable, so the kernel denies them its memory, descriptors and environment, and ptrace. The socket
// and all other descriptors are closed in commands. They can only end or slow down process 1. If process
// 1 ends, the sandbox ends, and Run returns ErrEnded.
//
// The client trusts nothing that it receives, in case process 1 was taken over. Frames have a maximum
// size, unknown or unexpected ones are errors, and a reply has numbers only. Run never waits longer than
// its context and the grace time.
//
// # Protocol
//
// A frame is one byte for the type, four bytes for the length (big endian), and the content:
//
//	from the client
//	  r  run: a JSON object with the fields dir, args and env; at most 4 MiB
//	  t  terminate the command: SIGTERM to all processes; empty
//	  k  kill the command; empty
//	from process 1
//	  o  output: at most 32 KiB
//	  e  end: a byte for the kind (x exited, s killed by a signal, n not started), and four bytes for the
//	     exit code, the signal or the errno
//	  h  hello: process 1 is ready; empty
//
// Process 1 exits when the socket is closed, and the kernel then kills all processes in the sandbox.
package guest
