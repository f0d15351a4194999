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

// maxBodyShown bounds the part of a delivery's body that its page shows, in bytes.
const maxBodyShown = 256 << 10

type deliveriesPage struct {
	Rows  []deliveryRow
	Older string
	Any   bool // some repository has a webhook
}

type deliveryRow struct {
	autobuild.Delivery
	Repository string
}

// deliveries lists what Bitbucket told, newest first.
func (p *Pages) deliveries(c *gin.Context) error {
	ctx := c.Request.Context()
	list, err := p.view(c).Deliveries(ctx, autobuild.DeliveryFilter{Limit: pageSize + 1, Before: c.Query("before")})
	if err != nil {
		return fmt.Errorf("list deliveries: %w", err)
	}
	hooks, err := p.view(c).Hooks(ctx)
	if err != nil {
		return fmt.Errorf("list webhooks: %w", err)
	}
	names := map[string]string{}
	for _, h := range hooks {
		names[h.ID] = h.Repository.FullName
	}
	content := deliveriesPage{Any: len(hooks) > 0}
	if len(list) > pageSize {
		list = list[:pageSize]
		content.Older = "/deliveries?before=" + list[pageSize-1].ID
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
	Cut        bool   // the body is longer than shown
}

type outcomeView struct {
	autobuild.Outcome
	Answers []answerView
}

type answerView struct {
	autobuild.RuleAnswer
	Image string
}

type headerLine struct{ Name, Value string }

// delivery shows one webhook request: what it said, and what each rule answered.
func (p *Pages) delivery(c *gin.Context) error {
	ctx := c.Request.Context()
	d, err := p.view(c).Delivery(ctx, c.Param("id"))
	if err != nil {
		return fmt.Errorf("delivery %q: %w", c.Param("id"), err)
	}
	hook, err := optional(p.view(c).Hook(ctx, d.HookID))
	if err != nil {
		return fmt.Errorf("webhook of delivery %s: %w", d.ID, err)
	}
	automated, err := p.view(c).AutomatedBuilds(ctx)
	if err != nil {
		return fmt.Errorf("list automated builds: %w", err)
	}
	content := deliveryPage{Delivery: d, Repository: hook.Repository.FullName, Headers: headerLines(d.Header)}
	content.Text, content.Cut = bodyText(d.Body)
	for _, o := range d.Outcomes {
		content.Outcomes = append(content.Outcomes, outcomeOf(o, automated))
	}
	return p.show(c, http.StatusOK, "delivery", frame{
		Title:   "Delivery " + d.Event,
		Nav:     "deliveries",
		Crumbs:  []crumb{{"Deliveries", "/deliveries"}},
		Content: content,
	})
}

func outcomeOf(o autobuild.Outcome, automated []autobuild.AutomatedBuild) outcomeView {
	view := outcomeView{Outcome: o}
	for _, r := range o.Rules {
		answer := answerView{RuleAnswer: r}
		for _, a := range automated {
			if a.ID == r.AutomatedBuildID {
				answer.Image = a.Image
			}
		}
		view.Answers = append(view.Answers, answer)
	}
	return view
}

// headerLines sorts headers by name.
func headerLines(h http.Header) []headerLine {
	var lines []headerLine
	for name, values := range h {
		for _, v := range values {
			lines = append(lines, headerLine{name, masked(name, v)})
		}
	}
	sort.Slice(lines, func(i, j int) bool { return lines[i].Name < lines[j].Name })
	return lines
}

// masked hides what a header proves: a signature may be replayed, so that only its kind is
// shown, and credentials are not shown at all.
func masked(name, value string) string {
	kind, _, found := strings.Cut(value, "=")
	switch {
	case strings.Contains(name, "Signature") && found:
		return kind + "=… (valid)"
	case strings.Contains(name, "Signature"), name == "Authorization", name == "Cookie":
		return "…"
	}
	return value
}

// maxDepth bounds the nesting of JSON that is laid out: deeper, each line's indent would
// make much of little.
const maxDepth = 24

func bodyText(body []byte) (text string, cut bool) {
	var pretty bytes.Buffer
	if len(body) <= maxBodyShown && depth(body) <= maxDepth && json.Indent(&pretty, body, "", "  ") == nil {
		body = pretty.Bytes()
	}
	if len(body) > maxBodyShown {
		body, cut = body[:maxBodyShown], true
	}
	return strings.ToValidUTF8(string(body), "\uFFFD"), cut
}

// depth counts brackets, those within strings too: it may say too much and never too little.
func depth(body []byte) int {
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
