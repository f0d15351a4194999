package guest

import (
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"syscall"
)

// A server is process 1 while it serves a client.
type server struct {
	conn   net.Conn
	frames frameReader

	write sync.Mutex     // the output and the end of a command are frames of two goroutines
	run   sync.WaitGroup // the running command

	mu      sync.Mutex
	running bool           // a command was requested, and not all of its processes have ended
	signal  syscall.Signal // the last signal for the running command; 0 = none
}

// serve runs the commands of the client until it closes the socket. The caller then exits, and the kernel
// kills all processes that are left.
func serve(conn net.Conn) error {
	defer conn.Close()
	s := &server{conn: conn, frames: frameReader{from: conn}}
	if err := s.send(frameHello, nil); err != nil {
		return err
	}
	for {
		t, content, err := s.frames.next()
		if err == nil {
			err = s.handle(t, content)
		}
		switch {
		case isClosed(err):
			return nil
		case err != nil:
			return fmt.Errorf("read from the client: %w", err)
		}
	}
}

// handle handles a frame of the client.
func (s *server) handle(t frameType, content []byte) error {
	switch t {
	case frameRun:
		var r request
		if err := json.Unmarshal(content, &r); err != nil {
			return err
		}
		s.run.Wait()
		s.setRunning(true)
		s.run.Go(func() {
			e := s.execute(r)
			s.setRunning(false)              // before the client sends the next command
			_ = s.send(frameEnd, e.encode()) // if the client is gone, the next read reports it
		})
		return nil
	case frameTerminate:
		s.signalAll(syscall.SIGTERM)
		return nil
	case frameKill:
		s.signalAll(syscall.SIGKILL)
		return nil
	default:
		return fmt.Errorf("unexpected frame %q", byte(t))
	}
}

func (s *server) setRunning(running bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = running
	s.signal = 0
}

// signalAll sends a signal to all processes of the sandbox except this one, if a command runs.
func (s *server) signalAll(signal syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running {
		s.signal = signal
		_ = syscall.Kill(-1, signal) // an error means that the command has not started yet, or has ended
	}
}

// resendSignal sends the last signal again if it arrived before the command had started.
func (s *server) resendSignal() {
	s.mu.Lock()
	signal := s.signal
	s.mu.Unlock()
	if signal != 0 {
		s.signalAll(signal)
	}
}

func (s *server) send(t frameType, content []byte) error {
	s.write.Lock()
	defer s.write.Unlock()
	return writeFrame(s.conn, t, content)
}
