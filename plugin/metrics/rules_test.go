package metrics_test

import (
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/goccy/go-yaml"
	promlabels "github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"slipway/plugin/web/api"
)

const (
	alertsFile     = "../../deploy/prometheus/slipway-alerts.yaml"
	operationsFile = "../../docs/operations.md"
)

// rulesFile is a Prometheus rules file, limited to the fields that our file uses.
// https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/
type rulesFile struct {
	Groups []struct {
		Name  string
		Rules []rule
	}
}

type rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func alerts(t *testing.T) []rule {
	t.Helper()
	text, err := os.ReadFile(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	var file rulesFile
	if err := yaml.UnmarshalWithOptions(text, &file, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	if len(file.Groups) == 0 || len(file.Groups[0].Rules) == 0 {
		t.Fatal("alerts: got none, want some")
	}
	return file.Groups[0].Rules
}

// labels maps the label names of one metric to the observed values.
type labels map[string][]string

// names returns the names of the labels.
func (l labels) names() []string { return slices.Collect(maps.Keys(l)) }

// series returns the metrics of a gateway in which every event occurred once.
func series(t *testing.T) map[string]labels {
	t.Helper()
	b := open(t)
	everything(t, b)
	for _, r := range machineRoutes() {
		b.Requested(r.Method, r.Path, http.StatusOK, time.Millisecond)
	}
	found := map[string]labels{"up": {"job": {"slipway"}}} // Prometheus' own, and scrape.yaml's
	for line := range strings.Lines(b.scrape(t)) {
		parts := regexp.MustCompile(`^([a-z_]+)(?:\{(.*)\})? \S+\n$`).FindStringSubmatch(line)
		if parts == nil || strings.HasPrefix(line, "#") {
			continue
		}
		if found[parts[1]] == nil {
			found[parts[1]] = labels{}
		}
		for _, label := range regexp.MustCompile(`(\w+)="([^"]*)"`).FindAllStringSubmatch(parts[2], -1) {
			if values := found[parts[1]]; !slices.Contains(values[label[1]], label[2]) {
				values[label[1]] = append(values[label[1]], label[2])
			}
		}
	}
	return found
}

// machineRoutes returns the routes for programs from the gateway's router.
func machineRoutes() gin.RoutesInfo {
	gin.SetMode(gin.TestMode)
	engine := gin.New()
	api.New(api.Options{}).Mount(engine)
	return engine.Routes()
}

func TestTheExampleAlertsMatchTheMetrics(t *testing.T) {
	known := series(t)
	names := map[string]bool{}
	for _, r := range alerts(t) {
		if names[r.Alert] {
			t.Errorf("alert %q: got its name twice, want once", r.Alert)
		}
		if !strings.HasPrefix(r.Alert, "Slipway") {
			t.Errorf("alert %q: got another prefix, want Slipway", r.Alert)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("alert %q: got annotations %v, want a summary and a description", r.Alert, r.Annotations)
		}
		if severity := r.Labels["severity"]; !slices.Contains([]string{"critical", "warning", "info"}, severity) {
			t.Errorf("alert %q: got severity %q, want a known one", r.Alert, severity)
		}
		names[r.Alert] = true
		if _, err := time.ParseDuration(r.For); r.For != "" && err != nil {
			t.Errorf("%s: for %q: %v", r.Alert, r.For, err)
		}
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(r.Expr)
		if err != nil {
			t.Errorf("%s: %v", r.Alert, err)
			continue
		}
		checkNames(t, r, expr, known)
	}
}

// checkNames checks that each selector, grouping and printed label names an existing metric,
// label and value.
func checkNames(t *testing.T, r rule, expr parser.Expr, known map[string]labels) {
	t.Helper()
	selectors := 0
	parser.Inspect(expr, func(n parser.Node, path []parser.Node) error {
		selector, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		selectors++
		has, there := known[selector.Name]
		if !there {
			t.Errorf("alert %s: got the unknown metric %s, want a known one", r.Alert, selector.Name)
			return nil
		}
		for _, m := range selector.LabelMatchers {
			if m.Name == "__name__" {
				continue
			}
			if !slices.Contains(has.names(), m.Name) {
				t.Errorf(
					"alert %s: got the metric %s without the label %s, want one with it",
					r.Alert,
					selector.Name,
					m.Name,
				)
			} else if m.Type == promlabels.MatchEqual && !slices.Contains(has[m.Name], m.Value) {
				t.Errorf("alert %s: metric %s: label %s: got %q, want one of %q",
					r.Alert, selector.Name, m.Name, m.Value, has[m.Name])
			}
		}
		kept := has.names()
		for _, above := range path {
			aggregate, ok := above.(*parser.AggregateExpr)
			if !ok {
				continue
			}
			kept = aggregate.Grouping
			for _, by := range aggregate.Grouping {
				if !slices.Contains(has.names(), by) {
					t.Errorf(
						"alert %s: got the metric %s without the label %s, want one to group by",
						r.Alert,
						selector.Name,
						by,
					)
				}
			}
		}
		for _, text := range r.Annotations {
			for _, used := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(text, -1) {
				if !slices.Contains(kept, used[1]) {
					t.Errorf(
						"alert %s: got the label %s in the text, want one that the expression keeps",
						r.Alert,
						used[1],
					)
				}
			}
		}
		return nil
	})
	if selectors == 0 {
		t.Errorf("metrics of alert %s: got none, want at least 1", r.Alert)
	}
}

// The operator documentation lists exactly the existing metrics.
func TestEveryMetricIsDocumented(t *testing.T) {
	text, err := os.ReadFile(operationsFile)
	if err != nil {
		t.Fatal(err)
	}
	inPage := map[string]bool{}
	for _, name := range regexp.MustCompile("`(slipway_[a-z_]+)").FindAllStringSubmatch(string(text), -1) {
		inPage[name[1]] = true
	}
	there := map[string]bool{}
	for name := range series(t) {
		if strings.HasPrefix(name, "slipway_") {
			there[regexp.MustCompile(`_seconds_(bucket|sum|count)$`).ReplaceAllString(name, "_seconds")] = true
		}
	}
	for name := range there {
		if !inPage[name] {
			t.Errorf("metric %s: got no entry in docs/operations.md, want one", name)
		}
	}
	for name := range inPage {
		if !there[name] {
			t.Errorf("docs/operations.md: got the unknown metric %s, want a known one", name)
		}
	}
	for _, r := range alerts(t) {
		if !strings.Contains(string(text), "`"+r.Alert+"`") {
			t.Errorf("docs/operations.md: got no alert %s, want it", r.Alert)
		}
	}
}
