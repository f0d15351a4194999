package pages

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"sort"
	"strings"

	"github.com/gin-gonic/gin"

	"slipway/plugin/autobuild"
)

// maxBodyShown is the size of the part of a delivery's body that its page shows, in bytes.
const maxBodyShown = 256 << 10

type deliveriesPage struct {
	Rows  []deliveryRow
	Older string
	Any   bool // at least one repository has a webhook
}

type deliveryRow struct {
	autobuild.Delivery
	Repository string
}

// showDeliveries lists the webhook requests of Bitbucket, newest first.
func (p *Pages) showDeliveries(c *gin.Context) error {
	ctx := c.Request.Context()
	list, err := p.view(c).Deliveries(ctx, autobuild.DeliveryFilter{Limit: pageSize + 1, Before: c.Query("before")})
	if err != nil {
		return fmt.Errorf("list deliveries: %w", err)
	}
	content := deliveriesPage{}
	if len(list) > pageSize {
		list = list[:pageSize]
		content.Older = "/deliveries?before=" + list[pageSize-1].ID
	}
	var hooks []string
	for _, d := range list {
		hooks = append(hooks, d.HookID)
	}
	names, err := p.view(c).HookNames(ctx, hooks)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		content.Any, err = p.view(c).HasHooks(ctx)
		if err != nil {
			return err
		}
	}
	for _, d := range list {
		content.Rows = append(content.Rows, deliveryRow{d, names[d.HookID]})
	}
	return p.show(c, http.StatusOK, "deliveries", frame{Title: "Deliveries", Nav: "deliveries", Content: content})
}

type deliveryPage struct {
	autobuild.Delivery
	Repository string
	Outcomes   []outcomeView
	Headers    []headerLine
	Text       string // of the body
	Cut        bool   // the body is longer than Text
}

type outcomeView struct {
	autobuild.Outcome
	Decisions []decisionView
}

type decisionView struct {
	autobuild.RuleDecision
	Image string
}

type headerLine struct{ Name, Value string }

// showDelivery shows one webhook request with its changes and the decision of each rule.
func (p *Pages) showDelivery(c *gin.Context) error {
	ctx := c.Request.Context()
	d, err := p.view(c).Delivery(ctx, c.Param("id"))
	if err != nil {
		return fmt.Errorf("delivery %q: %w", c.Param("id"), err)
	}
	names, err := p.view(c).HookNames(ctx, []string{d.HookID})
	if err != nil {
		return err
	}
	images, err := p.view(c).Images(ctx, automatedBuildsOf(d.Outcomes))
	if err != nil {
		return err
	}
	content := deliveryPage{Delivery: d, Repository: names[d.HookID], Headers: headerLines(d.Header)}
	content.Text, content.Cut = bodyText(d.Body)
	for _, o := range d.Outcomes {
		content.Outcomes = append(content.Outcomes, outcomeOf(o, images))
	}
	return p.show(c, http.StatusOK, "delivery", frame{
		Title:   "Delivery " + d.Event,
		Nav:     "deliveries",
		Crumbs:  []crumb{{"Deliveries", "/deliveries"}},
		Content: content,
	})
}

// automatedBuildsOf returns the ids of the automated builds whose rules decided.
func automatedBuildsOf(outcomes []autobuild.Outcome) (ids []string) {
	for _, o := range outcomes {
		for _, r := range o.Rules {
			ids = append(ids, r.AutomatedBuildID)
		}
	}
	return ids
}

// outcomeOf returns a change with its decisions. images are those of the automated builds by id.
func outcomeOf(o autobuild.Outcome, images map[string]string) outcomeView {
	view := outcomeView{Outcome: o}
	for _, r := range o.Rules {
		view.Decisions = append(view.Decisions, decisionView{RuleDecision: r, Image: images[r.AutomatedBuildID]})
	}
	return view
}

// headerLines returns headers sorted by name.
func headerLines(h http.Header) []headerLine {
	var lines []headerLine
	for name, values := range h {
		for _, v := range values {
			lines = append(lines, headerLine{name, maskHeader(name, v)})
		}
	}
	sort.Slice(lines, func(i, j int) bool { return lines[i].Name < lines[j].Name })
	return lines
}

// maskHeader hides secrets in a header. It shows only the kind of a signature, because signatures could be
// replayed, and hides credentials completely.
func maskHeader(name, value string) string {
	kind, _, found := strings.Cut(value, "=")
	switch {
	case strings.Contains(name, "Signature") && found:
		return kind + "=… (valid)"
	case strings.Contains(name, "Signature"), name == "Authorization", name == "Cookie":
		return "…"
	}
	return value
}

// maxDepth is the maximum nesting of JSON that is indented. With deeper nesting, the indentation
// could make a short body very long.
const maxDepth = 24

func bodyText(body []byte) (text string, cut bool) {
	var pretty bytes.Buffer
	if len(body) <= maxBodyShown && jsonDepth(body) <= maxDepth && json.Indent(&pretty, body, "", "  ") == nil {
		body = pretty.Bytes()
	}
	if len(body) > maxBodyShown {
		body, cut = body[:maxBodyShown], true
	}
	return strings.ToValidUTF8(string(body), "\uFFFD"), cut
}

// jsonDepth returns the nesting depth of JSON. It also counts brackets in strings, so the result may be
// too high, but never too low.
func jsonDepth(body []byte) int {
	now, deepest := 0, 0
	for _, c := range body {
		switch c {
		case '{', '[':
			now++
			deepest = max(deepest, now)
		case '}', ']':
			now--
		}
	}
	return deepest
}
