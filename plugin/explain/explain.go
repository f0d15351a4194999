// Package explain answers, with nothing but two files, what Slipway makes of a delivery: which
// changes it holds and what every rule says to each. It needs no gateway, network, database
// or signature.
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

// Options say what to explain.
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
	exitNotUnderstood = 1
	exitUsage         = 2
)

// An Error says in one line what is wrong, and as what the command ends.
type Error struct {
	code int
	err  error
}

func (e *Error) Error() string { return strings.Join(strings.Fields(e.err.Error()), " ") }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.err }

// ExitCode is 1 when payload or rules were not understood, 2 when the command was used wrongly.
func (e *Error) ExitCode() int { return e.code }

func usage(format string, args ...any) error {
	return &Error{code: exitUsage, err: fmt.Errorf(format, args...)}
}

func notUnderstood(what string, err error) error {
	return &Error{code: exitNotUnderstood, err: fmt.Errorf("%s: %w", what, err)}
}

// Run writes the explanation as one JSON object. Errors about what was given are *Error.
func Run(ctx context.Context, o Options) error {
	kind := autobuild.ProviderKind(o.Provider)
	limit, err := provider.MaxPayload(kind)
	if err != nil {
		return usage("--provider: %w", err)
	}
	if o.RulesFile == "" || o.Payload == "" {
		return usage("a rules file and a payload are needed: explain --provider … --event KEY --rules FILE PAYLOAD|-")
	}
	documents, err := readRules(o.RulesFile)
	if err != nil {
		return notUnderstood(o.RulesFile, err)
	}
	body, err := readPayload(o, limit)
	if err != nil {
		return notUnderstood(payloadName(o), err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	push, err := provider.ParsePush(kind, o.Event, body)
	if err != nil {
		return notUnderstood(payloadName(o), err)
	}
	return write(o.Stdout, explanationOf(kind, push, documents))
}

// readRules reads and checks all documents.
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

// withoutPath drops the path that the caller's message begins with already.
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
