package cli

import "testing"

func TestEnvPrintsVariables(t *testing.T) {
	s := newShell(t)
	s.putAt("app/PORT", "80")
	s.putAt("app/db/host", "it's\ndb1")
	s.putAt("app2/OTHER", "not below app")
	s.putAt("more/PORT", "81")
	s.putAt("bad/db-host", "x")
	s.putAt("bad/1st", "x")
	at := func(name string) string { return s.prefix + name }
	s.golden("env",
		[]string{"env", "-p", at("app")},
		[]string{"env", "-p", at("app/"), "-p", at("more"), "--upcase", "-o", "json"},
		[]string{"env", "-p", at("app"), "-o", "table"},
		[]string{"env", "-p", at("app"), "-o", "template={{.PORT}}"},
		[]string{"env", "-p", at("none")},
		[]string{"env", "-p", at("bad")},
		[]string{"env", "-p", at("bad"), "--", "true"},
		[]string{"env", "-p", at("bad"), "--sanitize"},
		[]string{"env", "-p", at("app"), "--pristine", "--", "env"},
		[]string{"env", "-p", at("app"), "--", "sh", "-c", "echo $PORT; exit 3"},
		[]string{"env", "-p", at("app"), "--", "no-such-program"},
	)
}

func TestEnvSaysWhatItIsFor(t *testing.T) {
	newShell(t).golden("env-usage",
		[]string{"env", "--help"},
		[]string{"env"},
		[]string{"env", "-p", ""},
		[]string{"env", "-p", "app", "./server"},
		[]string{"env", "-p", "app", "--"},
		[]string{"env", "-p", "app", "--pristine"},
		[]string{"env", "-p", "app", "--on-change", "run", "--", "true"},
		[]string{"env", "-p", "app", "-o", "json", "--", "true"},
		[]string{"env", "-p", "app", "--kill-grace", "-1s", "--", "true"},
		[]string{"env", "-p", "app", "--start-timeout", "0s"},
		[]string{"render", "a.tmpl:a", "--start-timeout", "0s"},
	)
}
