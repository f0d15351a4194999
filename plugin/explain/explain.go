// Package explain shows how Slipway handles a delivery: the changes in it, and each rule's
// decision on each change. It reads only a payload and a rules file. It needs no gateway,
// network, database or signature.
package explain

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"slipway/plugin/autobuild"
	"slipway/plugin/catalog/rulesfile"
	"slipway/plugin/provider"
	"slipway/plugin/rules"
)

// Options configure Run.
type Options struct {
	Provider  string // bitbucket-cloud or bitbucket-datacenter
	Event     string // the delivery's X-Event-Key
	RulesFile string // path of the rules file
	Payload   string // path of the delivery's body; "-" = Stdin
	Stdin     io.Reader
	Stdout    io.Writer
}

// Exit codes of the command.
const (
	exitInvalidInput = 1
	exitUsage        = 2
)

// An Error is a one-line error with the exit code of the command.
type Error struct {
	code int
	err  error
}

func (e *Error) Error() string { return strings.Join(strings.Fields(e.err.Error()), " ") }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.err }

// ExitCode returns 1 if the payload or the rules are invalid, and 2 for wrong usage of the
// command.
func (e *Error) ExitCode() int { return e.code }

func usageError(format string, args ...any) error {
	return &Error{code: exitUsage, err: fmt.Errorf(format, args...)}
}

func inputError(what string, err error) error {
	return &Error{code: exitInvalidInput, err: fmt.Errorf("%s: %w", what, err)}
}

// Run writes the explanation as one JSON object to o.Stdout. Errors in the options, the payload
// or the rules are *Error.
func Run(ctx context.Context, o Options) error {
	kind := autobuild.ProviderKind(o.Provider)
	limit, err := provider.MaxPayload(kind)
	if err != nil {
		return usageError("--provider: %w", err)
	}
	if o.RulesFile == "" || o.Payload == "" {
		return usageError(
			"a rules file and a payload are needed: explain --provider … --event KEY --rules FILE PAYLOAD|-",
		)
	}
	documents, err := readRules(o.RulesFile)
	if err != nil {
		return inputError(o.RulesFile, err)
	}
	body, err := readPayload(o, limit)
	if err != nil {
		return inputError(payloadName(o), err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	push, err := provider.ParsePush(kind, o.Event, body)
	if err != nil {
		return inputError(payloadName(o), err)
	}
	return write(o.Stdout, explanationOf(kind, push, documents))
}

// readRules reads and checks all documents of a rules file.
func readRules(file string) ([]rulesfile.Document, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer func() { _ = f.Close() }()
	documents, err := rulesfile.Decode(f)
	if err != nil {
		return nil, err
	}
	for _, d := range documents {
		if faults, _ := rules.Check(d.Build.Rules); len(faults) > 0 {
			return nil, fmt.Errorf("document at line %d: %w", d.Line, faults[0])
		}
	}
	return documents, nil
}

func readPayload(o Options, limit int) ([]byte, error) {
	in := o.Stdin
	if o.Payload != "-" {
		f, err := os.Open(o.Payload)
		if err != nil {
			return nil, withoutPath(err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	body, err := io.ReadAll(io.LimitReader(in, int64(limit)+1))
	if err != nil {
		return nil, withoutPath(err)
	}
	return body, nil
}

// withoutPath removes the path from an error, because the caller's message begins with the path.
func withoutPath(err error) error {
	var fault *os.PathError
	if errors.As(err, &fault) {
		return fault.Err
	}
	return err
}

func payloadName(o Options) string {
	if o.Payload == "-" {
		return "standard input"
	}
	return o.Payload
}

func write(w io.Writer, e explanation) error {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(e); err != nil {
		return fmt.Errorf("write explanation: %w", err)
	}
	if _, err := w.Write(out.Bytes()); err != nil {
		return fmt.Errorf("write explanation: %w", err)
	}
	return nil
}
