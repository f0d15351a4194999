package enginetest

import (
	"strings"

	"slipway/plugin/demo/demotest"
)

// doctor: a pipeline that builds nothing shows that the CI calls the extensions with valid
// signatures, that the step gets its token, and that it reaches the gateway and a builder.
func (c *CI) doctor(h *demotest.Env) {
	h.Automate(
		h.Dockerfile("x"), demotest.MainToLatest(),
	) // without a builder repository its repository runs the probe
	printed, err := h.Gateway.Doctor(h.Context)
	if err != nil {
		h.T.Errorf("doctor finds something to mend: %v\n%s", err, printed)
	}
	for _, want := range []string{
		" ran our step, with its token\n",
		"step: the gateway answers at " + h.Gateway.URL,
		"step: the builder answers at " + c.Builder,
	} {
		if !strings.Contains(printed, want) {
			h.T.Errorf("doctor does not say %q:\n%s", want, printed)
		}
	}
}

// doctorFinds: if the step's program is missing, doctor names the setting to check.
func (c *CI) doctorFinds(h *demotest.Env) {
	h.Automate(h.Dockerfile("x"), demotest.MainToLatest())
	c.withoutProgram(h, func() {
		printed, err := h.Gateway.Doctor(h.Context)
		if err == nil || !strings.Contains(printed, "our step said nothing") ||
			!strings.Contains(printed, "_IMAGE="+c.Program+" this program") {
			h.T.Errorf("doctor where the step's program is away: %v\n%s", err, printed)
		}
	})
}
