// Package usertest tests a gateway that is an ordinary user, with the builder service as root.
package usertest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/urfave/cli/v3"

	"slipway/plugin/demo/demotest"
)

func TestMain(m *testing.M) {
	demotest.Main(m, &cli.Command{Name: reachCommand, Action: func(context.Context, *cli.Command) error {
		reach()
		return nil
	}})
}

// reachCommand makes the test binary an attacker.
const reachCommand = "reach"

// reach tries to reach the files and processes that standard input names, one a line, and prints a line
// for each that is reachable. A process is its number.
func reach() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		target := lines.Text()
		if pid, err := strconv.Atoi(target); err == nil {
			reachProcess(pid)
			continue
		}
		if f, err := os.Open(target); err == nil {
			fmt.Fprintln(os.Stdout, "REACHED", target)
			f.Close()
		}
		if f, err := os.OpenFile(target, os.O_WRONLY, 0); err == nil {
			fmt.Fprintln(os.Stdout, "REACHED by writing", target)
			f.Close()
		}
		for _, network := range []string{"unix", "unixpacket"} {
			if c, err := net.Dial(network, target); err == nil {
				fmt.Fprintln(os.Stdout, "REACHED socket", target)
				c.Close()
			}
		}
	}
	fmt.Fprintln(os.Stdout, "done")
}

func reachProcess(pid int) {
	for _, file := range []string{"environ", "mem", "fd", "root/", "cwd/"} {
		path := fmt.Sprintf("/proc/%d/%s", pid, file)
		if f, err := os.Open(path); err == nil {
			fmt.Fprintln(os.Stdout, "REACHED", path)
			f.Close()
		}
	}
	if syscall.Kill(pid, 0) == nil {
		fmt.Fprintln(os.Stdout, "REACHED process", strings.TrimSpace(strconv.Itoa(pid)))
	}
}
