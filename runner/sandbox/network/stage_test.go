package network

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/sirupsen/logrus"

	"slipway/config/must"
	"slipway/config/netpolicy"
)

// stageVariable names the stage that a test starts in another process, and orderVariable has its order.
const (
	stageVariable = "SLIPWAY_NETWORK_TEST_STAGE"
	orderVariable = "SLIPWAY_NETWORK_TEST_ORDER"
)

const (
	stageGuest  = "guest"  // code in a sandbox
	stageOwner  = "owner"  // a process that has a router
	stageUser   = "user"   // an ordinary user, who starts stageOwner as root of a user namespace
	stageLinger = "linger" // a process in a namespace that outlives the owner
)

const ordinaryUser = 4242

func runStage(stage string) int {
	var err error
	switch stage {
	case stageGuest:
		return runGuest()
	case stageOwner:
		err = runOwner()
	case stageUser:
		err = runUser()
	case stageLinger:
		_, err = bufio.NewReader(os.Stdin).ReadByte()
	default:
		err = errors.New("unknown stage")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, stage+":", err)
		return 1
	}
	return 0
}

// An order lists the actions of an owner with its router.
type order struct {
	Slirp         string // path of slirp4netns; empty = veth
	Off           bool   // no filter
	RefusePrivate bool
	Allowed       []string // exceptions
	ResolvConf    string
	Dial          []string // addresses
	Resolve       []string // names
	Linger        bool     // start a process in a namespace
}

// A report is the output of an owner. An empty word is an error.
type report struct {
	Words     map[string]string
	Addresses map[string][]string // of the names
	PID       int
	Lingering int // process ID
	Slirp     int // process ID
}

// runOwner makes a router, carries the order out, prints a report and waits for the end of its input.
// After each line of input it prints a report again.
func runOwner() error {
	var o order
	if err := json.Unmarshal([]byte(os.Getenv(orderVariable)), &o); err != nil {
		return err
	}
	options := Options{Slirp: o.Slirp, ResolvConf: o.ResolvConf, Log: logrus.New(), Filter: Filter{off: o.Off}}
	var private string
	if o.RefusePrivate {
		private = netpolicy.PrivateRefuse
	}
	var err error
	if options.Filter.Policy, err = netpolicy.Parse(private, o.Allowed); err != nil {
		return err
	}
	router, err := NewRouter(context.Background(), options)
	if err != nil {
		return err
	}
	hook, err := router.Join(context.Background(), "hook")
	if err != nil {
		return err
	}
	answered := report{PID: os.Getpid(), Addresses: map[string][]string{}}
	if o.Linger {
		linger := exec.Command("/proc/self/exe")
		linger.Env = append(os.Environ(), stageVariable+"="+stageLinger)
		linger.ExtraFiles, linger.Stdin = nil, os.NewFile(3, "linger")
		linger.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := hook.Do(linger.Start); err != nil {
			return err
		}
		answered.Lingering = linger.Process.Pid
	}
	if u, ok := router.uplink.(slirpUplink); ok {
		answered.Slirp = u.process.PID()
	}
	input := bufio.NewReader(os.Stdin)
	for {
		answered.Words = readAll(hook, o.Dial)
		for _, name := range o.Resolve {
			if answer, err := resolve(hook, "udp", name, dns.TypeA); err == nil {
				answered.Addresses[name] = addressesOf(answer)
			}
		}
		if err := json.NewEncoder(os.Stdout).Encode(answered); err != nil {
			return err
		}
		if _, err := input.ReadString('\n'); err != nil {
			return router.Close()
		}
	}
}

// runUser starts stageOwner as root of a user namespace that has this user's id alone.
func runUser() error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), stageVariable+"="+stageOwner)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: ordinaryUser, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: ordinaryUser, Size: 1}},
	}
	return cmd.Run()
}

// A stageProcess is a running stageOwner.
type stageProcess struct {
	cmd    *exec.Cmd
	input  *os.File
	output *json.Decoder
}

// startOwner starts a process that has a router: as root, or as an ordinary user.
func startOwner(t testing.TB, o order) *stageProcess {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	stage := stageOwner
	if o.Slirp != "" {
		stage = stageUser
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ordinaryUser, Gid: ordinaryUser}}
	}
	text := must.Get[[]byte](t)(json.Marshal(o))
	cmd.Env = append(os.Environ(), stageVariable+"="+stage, orderVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	theirs, input := pipe(t)
	cmd.Stdin = theirs
	held, _ := pipe(t)
	cmd.ExtraFiles = []*os.File{held} // stageLinger runs until the test ends
	output := must.Get[interface {
		Read([]byte) (int, error)
		Close() error
	}](t)(cmd.StdoutPipe())
	must.Succeed(t, cmd.Start())
	p := &stageProcess{cmd: cmd, input: input, output: json.NewDecoder(output)}
	t.Cleanup(func() {
		input.Close()
		done := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer done.Stop()
		_ = cmd.Wait()
	})
	return p
}

func pipe(t testing.TB) (read, write *os.File) {
	t.Helper()
	read, write, err := os.Pipe()
	must.Succeed(t, err)
	t.Cleanup(func() {
		read.Close()
		write.Close()
	})
	return read, write
}

// report returns the next report.
func (p *stageProcess) report(t testing.TB) report {
	t.Helper()
	var r report
	if err := p.output.Decode(&r); err != nil {
		t.Fatalf("the owner of a router: %v", err)
	}
	return r
}

// again asks for another report.
func (p *stageProcess) again(t testing.TB) report {
	t.Helper()
	must.Get[int](t)(p.input.WriteString("\n"))
	return p.report(t)
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 10 seconds", what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// runs reports whether a process runs and is no zombie.
func runs(pid int) bool {
	state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	fields := splitStat(state)
	return len(fields) > 0 && string(fields[0]) != "Z"
}
