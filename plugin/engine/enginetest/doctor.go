package enginetest

import (
	"strings"

	"slipway/plugin/demo/world/worldtest"
)

// doctor: a pipeline that builds nothing shows that the CI asks the gateway, signs well and
// hands the token over, and that its step reaches the gateway and a builder.
func (c *CI) doctor(h *worldtest.House) {
	h.Automate(h.Dockerfile("x"), worldtest.MainToLatest()) // whose repository runs it where there is no builder repository
	printed, err := h.Gateway.Doctor(h.Context)
	if err != nil {
		h.T.Errorf("doctor finds something to mend: %v\n%s", err, printed)
	}
	for _, want := range []string{" ran our step, with its token\n", "step: the gateway answers at " + h.Gateway.URL, "step: the builder answers at " + c.Builder} {
		if !strings.Contains(printed, want) {
			h.T.Errorf("doctor does not say %q:\n%s", want, printed)
		}
	}
}

// doctorFinds: where the step cannot be had, doctor says what to look at.
func (c *CI) doctorFinds(h *worldtest.House) {
	h.Automate(h.Dockerfile("x"), worldtest.MainToLatest())
	c.away(h, func() {
		printed, err := h.Gateway.Doctor(h.Context)
		if err == nil || !strings.Contains(printed, "our step said nothing") || !strings.Contains(printed, "_IMAGE="+c.Program+" this program") {
			h.T.Errorf("doctor where the step's program is away: %v\n%s", err, printed)
		}
	})
}
