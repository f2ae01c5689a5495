package client_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/etcdkit/etcdkit/client"
)

type env map[string]string

func (e env) set(t *testing.T) {
	t.Helper()
	for name, value := range e {
		t.Setenv(name, value)
	}
}

func TestAnEndpointComesFromTheFirstPlaceThatHasOne(t *testing.T) {
	for _, test := range []struct {
		name string
		opts *client.Options
		env  env
		want []string
	}{
		{"nil options and no environment", nil, nil, []string{"localhost:2379"}},
		{"zero options", &client.Options{}, nil, []string{"localhost:2379"}},
		{"etcdctl's variable", nil, env{"ETCDCTL_ENDPOINTS": "a:1,b:2"}, []string{"a:1", "b:2"}},
		{"our variable before etcdctl's", nil, env{"ETCDKIT_ENDPOINTS": "a:1", "ETCDCTL_ENDPOINTS": "b:2"}, []string{"a:1"}},
		{"an empty variable is unset", nil, env{"ETCDKIT_ENDPOINTS": "", "ETCDCTL_ENDPOINTS": "b:2"}, []string{"b:2"}},
		{"options before all", &client.Options{Endpoints: []string{"c:3"}}, env{"ETCDKIT_ENDPOINTS": "a:1"}, []string{"c:3"}},
		{"empty options are unset", &client.Options{Endpoints: []string{"", " "}}, env{"ETCDKIT_ENDPOINTS": "a:1"}, []string{"a:1"}},
		{"a variable with nothing in it", nil, env{"ETCDKIT_ENDPOINTS": " , "}, []string{"localhost:2379"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.env.set(t)
			got, err := client.Endpoints(test.opts)
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("Endpoints(%+v) with %v: got %q, %v, want %q", test.opts, test.env, got, err, test.want)
			}
		})
	}
}

func TestNoVariableCountsWithAGetenvThatHasNone(t *testing.T) {
	env{"ETCDKIT_ENDPOINTS": "a:1", "ETCDCTL_CACERT": "/nowhere/ca.pem", "ETCDKIT_USER": "amy:secret", "ETCDKIT_INSECURE_PLAINTEXT_PASSWORD": "maybe"}.set(t)
	for want, variables := range map[string]env{"localhost:2379": nil, "b:2": {"ETCDCTL_ENDPOINTS": "b:2"}} {
		got, err := client.Endpoints(&client.Options{Getenv: func(variable string) string { return variables[variable] }})
		if err != nil || !slices.Equal(got, []string{want}) {
			t.Errorf("with %v: got %q, %v, want %s", variables, got, err, want)
		}
	}
}

func TestContradictorySettingsAreRefusedByName(t *testing.T) {
	for _, test := range []struct {
		name string
		opts client.Options
		env  env
		want []string // parts of the message
	}{
		{"a negative timeout", client.Options{Timeout: -1}, nil, []string{"Timeout", "-1ns"}},
		{"http with https", client.Options{Endpoints: []string{"http://a:1", "https://b:2"}}, nil,
			[]string{`"http://a:1"`, `"https://b:2"`, "TLS"}},
		{"no scheme with https", client.Options{Endpoints: []string{"a:1", "https://b:2"}}, nil, []string{`"a:1"`, `"https://b:2"`}},
		{"http with a CA file", client.Options{Endpoints: []string{"http://a:1"}, CACert: "ca.pem"}, nil, []string{`"http://a:1"`, "CACert"}},
		{"http with a CA file, both variables", client.Options{}, env{"ETCDCTL_ENDPOINTS": "http://a:1", "ETCDKIT_CACERT": "ca.pem"},
			[]string{`"http://a:1"`, "ETCDCTL_ENDPOINTS", "ETCDKIT_CACERT"}},
		{"a user without a password", client.Options{User: "amy"}, nil, []string{`"amy"`, "no password"}},
		{"a user with an empty password", client.Options{User: "amy:"}, nil, []string{`"amy"`, "no password"}},
		{"a user without a password, variable", client.Options{}, env{"ETCDCTL_USER": "amy"}, []string{`"amy"`, "ETCDCTL_USER"}},
		{"another user's password", client.Options{User: "amy"}, env{"ETCDCTL_USER": "bob:secret"}, []string{`"amy"`, "no password"}},
		{"a password without a user", client.Options{Password: "secret"}, nil, []string{"Password", "no user"}},
		{"a password without a user, variable", client.Options{}, env{"ETCDKIT_PASSWORD": "secret"}, []string{"ETCDKIT_PASSWORD", "no user"}},
		{"a password without a name", client.Options{User: ":secret"}, nil, []string{"User", "no name"}},
		{"a user that is not UTF-8", client.Options{User: "\xff:secret"}, nil, []string{"User", "UTF-8"}},
		{"a password that is not UTF-8", client.Options{User: "amy", Password: "secret\xff"}, nil, []string{"Password", "UTF-8"}},
		{"a permission that is neither true nor false", client.Options{User: "amy:secret"},
			env{"ETCDKIT_INSECURE_PLAINTEXT_PASSWORD": "please"}, []string{"ETCDKIT_INSECURE_PLAINTEXT_PASSWORD", `"please"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.env.set(t)
			_, err := client.Endpoints(&test.opts)
			wantError(t, err, client.ErrInvalid, test.want...)
		})
	}
}

func TestEndpointsThatAreGivenOverruleTheTLSFilesOfTheEnvironment(t *testing.T) {
	env{"ETCDCTL_ENDPOINTS": "https://far:1", "ETCDCTL_CACERT": "ca.pem"}.set(t)
	got, err := client.Endpoints(&client.Options{Endpoints: []string{"http://localhost:1"}})
	if want := []string{"http://localhost:1"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("http:// in Options with ETCDCTL_CACERT: got %q, %v, want %q", got, err, want)
	}
}

func TestAPasswordStaysOffPlaintextNetworks(t *testing.T) {
	for _, test := range []struct {
		endpoint string
		env      env
		permit   bool
		refused  bool
	}{
		{"10.0.0.1:2379", nil, false, true},
		{"http://10.0.0.1:2379", nil, false, true},
		{"[2001:db8::1]:2379", nil, false, true},
		{"0.0.0.0:2379", nil, false, true},
		{"etcd.example:2379", nil, false, true},
		{"localhost.example:2379", nil, false, true},
		{"localhost:2379,http://10.0.0.1:2379", nil, false, true},
		{"10.0.0.1:2379", env{"ETCDKIT_INSECURE_PLAINTEXT_PASSWORD": "false"}, false, true},

		{"10.0.0.1:2379", nil, true, false},
		{"10.0.0.1:2379", env{"ETCDKIT_INSECURE_PLAINTEXT_PASSWORD": "true"}, false, false},
		{"10.0.0.1:2379", env{"ETCDKIT_CACERT": "ca.pem"}, false, false},
		{"https://10.0.0.1:2379", nil, false, false},
		{"localhost:2379", nil, false, false},
		{"127.9.9.9:2379", nil, false, false},
		{"[::1]:2379", nil, false, false},
		{"[::ffff:127.0.0.1]:2379", nil, false, false},
		{"unix:///run/etcd.sock", nil, false, false},
	} {
		t.Run(test.endpoint, func(t *testing.T) {
			test.env.set(t)
			_, err := client.Endpoints(&client.Options{
				Endpoints:                 strings.Split(test.endpoint, ","),
				User:                      "amy:secret",
				InsecurePlaintextPassword: test.permit,
			})
			if !test.refused {
				if err != nil {
					t.Errorf("a password for %s, permitted: %t, %v: got %v, want no error", test.endpoint, test.permit, test.env, err)
				}
				return
			}
			wantError(t, err, client.ErrInvalid, `"amy"`, "unencrypted", "https://", "ETCDKIT_INSECURE_PLAINTEXT_PASSWORD=true")
			if !errors.Is(err, client.ErrPlaintextPassword) {
				t.Errorf("a password for %s: got %v, want an ErrPlaintextPassword", test.endpoint, err)
			}
		})
	}
}

// wantError checks the error's kind and its words, and that it gives away
// nothing and needs one line.
func wantError(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("got error %v, want one that is %q", err, kind)
	}
	text := err.Error()
	if !strings.HasPrefix(text, "client: ") || strings.Count(text, "client: ") != 1 {
		t.Errorf(`got %q, want one "client: ", in front`, text)
	}
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("got %q, want %q in it", text, word)
		}
	}
	for _, never := range []string{"secret", "\n", "%!", "goroutine", "rpc error"} {
		if strings.Contains(text, never) {
			t.Errorf("got %q, want no %q in it", text, never)
		}
	}
}
