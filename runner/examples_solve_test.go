package runner_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	controlapi "github.com/moby/buildkit/api/services/control"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// A recorder is a proxy of a builder that records build requests.
type recorder struct {
	address  string
	to       *grpc.ClientConn
	mu       sync.Mutex
	requests []*controlapi.SolveRequest
}

// maxMessage is the size limit of a message in bytes. BuildKit's messages are smaller.
const maxMessage = 64 << 20

func tap(t *testing.T, builder string) *recorder {
	t.Helper()
	to, err := grpc.NewClient(
		builder,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodec(frames{}),
			grpc.MaxCallRecvMsgSize(maxMessage),
			grpc.MaxCallSendMsgSize(maxMessage),
		),
	)
	if err != nil {
		t.Fatal(err)
	}
	w := &recorder{to: to}
	socket := filepath.Join(openDir(t), "tap.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	w.address = "unix://" + socket
	server := grpc.NewServer(
		grpc.ForceServerCodec(frames{}),
		grpc.UnknownServiceHandler(w.pass),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxMessage),
	)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		_ = to.Close()
	})
	return w
}

// frames is a codec that passes messages on unchanged.
type frames struct{}

func (frames) Name() string                        { return "proto" }
func (frames) Marshal(v any) ([]byte, error)       { return *v.(*[]byte), nil }
func (frames) Unmarshal(data []byte, to any) error { *to.(*[]byte) = slices.Clone(data); return nil }

// pass forwards one call, with messages in both directions.
func (w *recorder) pass(_ any, from grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(from)
	headers, _ := metadata.FromIncomingContext(from.Context())
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(from.Context(), headers))
	defer cancel()
	to, err := w.to.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	go func() {
		for {
			var message []byte
			if err := from.RecvMsg(&message); err != nil {
				_ = to.CloseSend()
				return
			}
			if strings.HasSuffix(method, "/Solve") {
				w.record(message)
			}
			if to.SendMsg(&message) != nil {
				return
			}
		}
	}()
	for {
		var message []byte
		err := to.RecvMsg(&message)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := from.SendMsg(&message); err != nil {
			return err
		}
	}
}

func (w *recorder) record(message []byte) {
	var request controlapi.SolveRequest
	if proto.Unmarshal(message, &request) != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests = append(w.requests, &request)
}

// asked returns the build requests since the last call, one line for each attribute. It leaves out the
// build arguments with the test's proxy, because they are not settings of the example.
func (w *recorder) asked(proxy string) (lines []string) {
	w.mu.Lock()
	requests := w.requests
	w.requests = nil
	w.mu.Unlock()
	for i, r := range requests {
		if i > 0 {
			lines = append(lines, "and again")
		}
		if r.Internal {
			lines = append(lines, "no record")
		}
		lines = append(lines, attributes("", r.FrontendAttrs, proxy)...)
		for _, e := range r.Exporters {
			lines = append(
				lines,
				attributes("export "+e.Type+" ", withoutAnnotations(e.Attrs, r.FrontendAttrs), proxy)...)
		}
		if r.Cache == nil {
			continue
		}
		for _, c := range r.Cache.Imports {
			lines = append(lines, fmt.Sprintf("cache from %s %v", c.Type, c.Attrs))
		}
		for _, c := range r.Cache.Exports {
			lines = append(lines, fmt.Sprintf("cache to %s %v", c.Type, c.Attrs))
		}
	}
	return lines
}

// withoutAnnotations leaves out annotations that repeat a label: one line is enough.
func withoutAnnotations(export, labels map[string]string) map[string]string {
	left := maps.Clone(export)
	maps.DeleteFunc(left, func(name, value string) bool {
		kind, label, _ := strings.Cut(name, ".")
		return strings.HasPrefix(kind, "annotation") && labels["label:"+label] == value
	})
	return left
}

func attributes(before string, all map[string]string, proxy string) (lines []string) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if value := all[name]; value != proxy {
			lines = append(lines, before+name+"="+value)
		}
	}
	return lines
}
