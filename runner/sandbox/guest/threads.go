package guest

import (
	"errors"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// threads is the number of threads that process 1 starts before any command. It needs them to wait for
// children, for frames, and for the garbage collector.
const threads = 6

// startThreads makes the Go runtime start its threads. A command may use up all processes that the
// sandbox may have. A Go program crashes if it cannot start a thread. Started threads stay and wait for
// work.
func startThreads() error {
	runtime.GOMAXPROCS(2) // each possible processor may need a thread
	// Each goroutine blocks its thread in a read, so that the runtime needs another one for the next.
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	var ready, done sync.WaitGroup
	ready.Add(threads)
	for range threads {
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			ready.Done()
			_, _ = unix.Read(pipe[0], make([]byte, 1)) // returns at the end of the pipe
		})
	}
	ready.Wait()
	err := unix.Close(pipe[1])
	done.Wait()
	return errors.Join(err, unix.Close(pipe[0]))
}
