package enginetest

import (
	"strings"

	"slipway/plugin/demo/demotest"
)

// doctor: a pipeline that builds nothing shows that the CI calls the extensions with valid
// signatures, that the step gets its token, and that it reaches the gateway and a builder.
func (c *CI) doctor(env *demotest.Env) {
	env.Automate(
		env.Dockerfile("x"), demotest.MainRule(),
	) // without a builder repository its repository runs the probe
	printed, err := env.Gateway.Doctor(env.Context)
	if err != nil {
		env.T.Errorf("doctor: got problems %v, want none:\n%s", err, printed)
	}
	for _, want := range []string{
		" ran our step, with its token\n",
		"step: the gateway answers at " + env.Gateway.URL,
		"step: the builder answers at " + c.Builder,
	} {
		if !strings.Contains(printed, want) {
			env.T.Errorf("doctor: got no %q in the output, want it:\n%s", want, printed)
		}
	}
}

// doctorFinds: if the step's program is missing, doctor names the setting to check.
func (c *CI) doctorFinds(env *demotest.Env) {
	env.Automate(env.Dockerfile("x"), demotest.MainRule())
	c.withoutProgram(env, func() {
		printed, err := env.Gateway.Doctor(env.Context)
		if err == nil {
			env.T.Error("doctor without the step's program: got no error, want one")
		}
		if !strings.Contains(printed, "without output of our step") ||
			!strings.Contains(printed, "_IMAGE="+c.Program+" this program") {
			env.T.Errorf(
				"doctor without the step's program: got %v, want it to name the image's setting:\n%s",
				err,
				printed,
			)
		}
	})
}
