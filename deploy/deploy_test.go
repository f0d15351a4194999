package deploy_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/urfave/cli/v3"

	"slipway/runner/sandbox/server"
)

// An example is the command and environment of the builder in one file of deploy/builder.
type example struct {
	command     []string // after the program
	environment map[string]string
}

func readExample(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("builder", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// unit reads a systemd unit. https://man7.org/linux/man-pages/man5/systemd.exec.5.html
func unit(t *testing.T) example {
	e := example{environment: map[string]string{}}
	for line := range strings.Lines(string(readExample(t, "slipway-builder.service"))) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "Environment":
			name, value, _ := strings.Cut(value, "=")
			e.environment[name] = value
		case "ExecStart":
			e.command = strings.Fields(value)[1:]
		}
	}
	return e
}

// compose reads a file of Docker Compose. https://docs.docker.com/reference/compose-file/services/
func compose(t *testing.T) example {
	var file struct {
		Services map[string]struct {
			Image, Restart  string
			StopGracePeriod string `yaml:"stop_grace_period"`
			Command         []string
			Privileged      bool
			Environment     map[string]string
			Secrets         []string
			Ports, Volumes  []string
		}
		Volumes map[string]any
		Secrets map[string]struct{ File string }
	}
	if err := yaml.UnmarshalWithOptions(readExample(t, "compose.yaml"), &file, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	s := file.Services["builder"]
	switch {
	case !s.Privileged:
		t.Errorf("compose.yaml: privileged: got false, want true: %+v", s)
	case s.StopGracePeriod != "60s": // a builder needs up to 33 s
		t.Errorf("compose.yaml: stop_grace_period: got %q, want 60s", s.StopGracePeriod)
	case file.Secrets[s.Secrets[0]].File == "":
		t.Errorf("compose.yaml: file of the certificate: got none, want one: %+v", s)
	case s.Environment["SLIPWAY_BUILDER_TLS"] != "/run/secrets/"+s.Secrets[0]:
		t.Errorf(
			"compose.yaml: path of the certificate: got %q, want %q",
			s.Environment["SLIPWAY_BUILDER_TLS"],
			"/run/secrets/"+s.Secrets[0],
		)
	}
	return example{s.Command, s.Environment}
}

// kubernetes reads the StatefulSet and finds that the Service leads to it.
func kubernetes(t *testing.T) example {
	type object struct {
		Kind string
		Spec struct {
			Selector map[string]any
			Ports    []struct {
				TargetPort string `yaml:"targetPort"`
			}
			Template struct {
				Metadata struct{ Labels map[string]any }
				Spec     struct {
					Containers []struct {
						Args            []string
						SecurityContext struct{ Privileged bool } `yaml:"securityContext"`
						Env             []struct{ Name, Value string }
						Ports           []struct{ Name string }
					}
				}
			}
		}
	}
	var set, service object
	decoder := yaml.NewDecoder(bytes.NewReader(readExample(t, "kubernetes.yaml")))
	for {
		var o object
		if err := decoder.Decode(&o); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if o.Kind == "StatefulSet" {
			set = o
		} else {
			service = o
		}
	}
	pod := set.Spec.Template
	if len(pod.Spec.Containers) != 1 || len(service.Spec.Ports) != 1 {
		t.Fatalf("kubernetes.yaml: got StatefulSet %+v and Service %+v, want both", set, service)
	}
	c := pod.Spec.Containers[0]
	switch {
	case !c.SecurityContext.Privileged:
		t.Errorf("kubernetes.yaml: privileged: got false, want true: %+v", set)
	case service.Spec.Selector["app"] != pod.Metadata.Labels["app"]:
		t.Errorf(
			"kubernetes.yaml: selector of the service: got app %q, want %q",
			service.Spec.Selector["app"],
			pod.Metadata.Labels["app"],
		)
	case service.Spec.Ports[0].TargetPort != c.Ports[0].Name:
		t.Errorf(
			"kubernetes.yaml: target port of the service: got %q, want %q",
			service.Spec.Ports[0].TargetPort,
			c.Ports[0].Name,
		)
	}
	e := example{c.Args, map[string]string{}}
	for _, v := range c.Env {
		e.environment[v.Name] = v.Value
	}
	return e
}

// The examples set only variables that the program has, and serve other machines with a certificate.
func TestDeployExamplesRunTheBuilder(t *testing.T) {
	var known []string
	for _, flag := range server.Command().Flags {
		if documented, ok := flag.(cli.DocGenerationFlag); ok {
			known = append(known, documented.GetEnvVars()...)
		}
	}
	for name, read := range map[string]func(*testing.T) example{"systemd": unit, "compose": compose, "kubernetes": kubernetes} {
		t.Run(name, func(t *testing.T) {
			e := read(t)
			if !slices.Equal(e.command, []string{"builder"}) {
				t.Errorf("command: got slipway %v, want slipway builder", e.command)
			}
			for variable := range e.environment {
				if !slices.Contains(known, variable) {
					t.Errorf("setting %s: got none in `slipway builder`, want one", variable)
				}
			}
			if !strings.HasPrefix(e.environment["SLIPWAY_BUILDER_ADDRESS"], "tcp://") ||
				!strings.HasSuffix(e.environment["SLIPWAY_BUILDER_TLS"], ".pem") {
				t.Errorf("environment: got %v, want a tcp:// address and a certificate", e.environment)
			}
		})
	}
}
