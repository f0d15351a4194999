package secret_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"

	"slipway/config/secret"
)

// A Secret prints as stars everywhere. Only Reveal returns its value.
func ExampleSecret() {
	s := secret.New("correct horse")
	text, err := json.Marshal(map[string]any{"password": s})
	fmt.Println(s, string(text), err)
	fmt.Println(s.Reveal())
	// Output:
	// *** {"password":"***"} <nil>
	// correct horse
}

// Mask finds encoded forms, too. The length of the text stays.
func ExampleRedactor_Mask() {
	r := secret.NewRedactor(secret.New("correct horse"))
	fmt.Println(string(r.Mask([]byte("password: correct horse"))))
	fmt.Println(string(r.Mask([]byte("url: https://ci:correct%20horse@example.com"))))
	fmt.Println(string(r.Mask([]byte("auth: " + base64.StdEncoding.EncodeToString([]byte("ci:correct horse"))))))
	// Output:
	// password: *************
	// url: https://ci:***************@example.com
	// auth: Y2k6********************
}

// A Writer masks a stream, wherever it is cut.
func ExampleRedactor_NewWriter() {
	w := secret.NewRedactor(secret.New("correct horse")).NewWriter(os.Stdout)
	for _, piece := range []string{"login with cor", "rect ho", "rse: ok\n"} {
		if _, err := w.Write([]byte(piece)); err != nil {
			fmt.Println(err)
		}
	}
	if err := w.Close(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// login with *************: ok
}
