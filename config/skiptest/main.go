// Command skiptest runs `go test`, and names the tests that were skipped. Without it, `go test` prints them only
// with -v, between the output of all other tests. A test that never runs would stay unnoticed.
//
// Usage:
//
//	go run ./config/skiptest [-allow FILE] [-strict] -- [arguments of go test]
//
// The file has a regular expression a line, and comments that begin with #. With -strict, a skipped test that
// matches none of them is a failure.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

func main() {
	allow := flag.String("allow", "", "file with regular expressions of tests that may be skipped")
	strict := flag.Bool("strict", false, "fail if another test is skipped")
	flag.Parse()
	code, err := run(*allow, *strict, flag.Args(), os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "skiptest:", err)
		code = 1
	}
	os.Exit(code)
}

// run runs `go test` and returns the exit code.
func run(allow string, strict bool, args []string, out io.Writer) (code int, err error) {
	allowed, err := readAllowed(allow)
	if err != nil {
		return 1, err
	}
	//nolint:noctx // a program for developers; Ctrl-C ends both
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 1, err
	}
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	r := newReport(out)
	readErr := r.readAll(stdout)
	err = cmd.Wait()
	unexpected := r.printSkips(allowed)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1), nil
	case err != nil, readErr != nil:
		return 1, errors.Join(err, readErr)
	case strict && unexpected > 0:
		return 1, fmt.Errorf("%d tests were skipped that %s does not allow: install what they need", unexpected, allow)
	}
	return 0, nil
}

// readAllowed returns the regular expressions of a file; "" = no file.
func readAllowed(path string) ([]*regexp.Regexp, error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var all []*regexp.Regexp
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		expression, err := regexp.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, expression)
	}
	return all, lines.Err()
}
