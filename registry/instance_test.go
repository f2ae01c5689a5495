package registry_test

import (
	"encoding/json"
	"errors"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/health"
	"github.com/etcdkit/etcdkit/registry"
)

func TestAnInstanceSurvivesItsValue(t *testing.T) {
	for _, want := range []registry.Instance{
		{Service: "web", ID: "a", Addr: "10.0.0.1:80", Weight: 1, Status: registry.Passing},
		{Service: "웹", ID: "서울-1", Addr: "[fd00::1]:8080", Version: "v1.2.3", Weight: 7, Zone: "kr-1", Tags: []string{"blue", "canary"},
			Status: registry.Maintenance, Reason: "disk", Metadata: map[string]string{"team": "search"}, Host: "node7", PID: 42},
		{Service: "web", ID: "b", Addr: "h:1", Weight: 1, Status: registry.Critical, Reason: "tcp: refused", Checks: []health.Result{
			{Name: "tcp", Status: health.Critical, Output: "refused <좋>", At: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)},
			{Name: "disk", Status: health.Passing}}},
		{Service: "web", ID: "node1", Raw: "value-2379", Weight: 1, Status: registry.Passing},
	} {
		val, err := want.Encode()
		if err != nil {
			t.Errorf("encode %+v: %v", want, err)
			continue
		}
		got, err := registry.Decode("/services/", "/services/"+want.Service+"/"+want.ID, val)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("decode %s: got %+v, %v, want %+v", val, got, err, want)
		}
	}
}

func TestForeignValuesAreRead(t *testing.T) {
	for val, want := range map[string]registry.Instance{
		"10.0.0.1:80": {Addr: "10.0.0.1:80"},
		`{"Op":0,"Addr":"10.0.0.1:80","Metadata":null}`: {Addr: "10.0.0.1:80"},
		`{"Addr":"10.0.0.1:80"}`:                        {Addr: "10.0.0.1:80"},
		"value-2379":                                    {Raw: "value-2379"},
		// In etcd's naming package the metadata is anything.
		`{"Addr":"h:1","Metadata":"zone-a"}`:          {Addr: "h:1", Metadata: map[string]string{"metadata": "zone-a"}},
		`{"Addr":"h:1","Metadata":[1,2]}`:             {Addr: "h:1", Metadata: map[string]string{"metadata": "[1,2]"}},
		`{"Addr":"h:1","Metadata":{"weight":-2}}`:     {Addr: "h:1", Metadata: map[string]string{"weight": "-2"}},
		`{"Addr":"h:1","Metadata":{"weight":"5"}}`:    {Addr: "h:1", Metadata: map[string]string{"weight": "5"}},
		`{"Addr":"h:1","Metadata":{"status":"UP"}}`:   {Addr: "h:1", Metadata: map[string]string{"status": "UP"}},
		`{"Addr":"h:1","Metadata":{"version":3}}`:     {Addr: "h:1", Metadata: map[string]string{"version": "3"}},
		`{"Addr":"h:1","Metadata":{"tags":["x", 1]}}`: {Addr: "h:1", Metadata: map[string]string{"tags": `["x", 1]`}},
		`{"Addr":"h:1","Metadata":{"region":"kr","weight":5,"metadata":{"a":"b"}}}`: {
			Addr: "h:1", Weight: 5, Metadata: map[string]string{"region": "kr", "a": "b"}},
		`{"Op":0,"Addr":"h:1","Metadata":{"weight":1,"status":"passing","checks":[{"name":"x","status":"passing","at":"2026-08-01T21:00:00+09:00"}]}}`: {
			Addr: "h:1", Checks: []health.Result{{Name: "x", Status: health.Passing, At: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)}}},
		`{"Op":0,"Addr":"h:1","Metadata":{"weight":1,"status":"passing","checks":[{"name":"x","status":"UP"}]}}`: {
			Addr: "h:1", Metadata: map[string]string{"checks": `[{"name":"x","status":"UP"}]`}},
		// Checks that are not ours stay what they are.
		`{"Addr":"h:1","Metadata":{"checks":"all"}}`:                            {Addr: "h:1", Metadata: map[string]string{"checks": "all"}},
		`{"Addr":"h:1","Metadata":{"checks":[{"name":"x","status":"UP"}]}}`:     {Addr: "h:1", Metadata: map[string]string{"checks": `[{"name":"x","status":"UP"}]`}},
		`{"Addr":"h:1","Metadata":{"weight":1,"status":"passing","checks":[]}}`: {Addr: "h:1"},
		`{"Addr":"h:1","Metadata":{"new":"x","checks":[{"name":"x","status":"passing"}]}}`: {
			Addr: "h:1", Metadata: map[string]string{"new": "x"}, Checks: []health.Result{{Name: "x", Status: health.Passing}}},
	} {
		want.Service, want.ID, want.Weight, want.Status = "web", "a", max(1, want.Weight), registry.Passing
		got, err := registry.Decode("/", "/web/a", val)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("decode %s: got %+v, %v, want %+v", val, got, err, want)
		}
	}
}

func TestValuesThatAreNoInstanceAreNamed(t *testing.T) {
	for _, tc := range []struct{ key, val, text string }{
		{"/services/web/a", `{"Addr":`, `value of "/services/web/a"`},
		{"/services/web/a", `{"Addr":"no-port"}`, "want host:port"},
		{"/services/web/a", `{"Addr":"h:1"} and more`, "invalid character"},
		{"/services/web/a", "  ", "is empty"},
		{"/services/web/a", "a\x00b", "NUL"},
		{"/services/web", "h:1", "want /services/SERVICE/ID"},
		{"/services/web/a/b", "h:1", "want /services/SERVICE/ID"},
		{"/elsewhere/web/a", "h:1", "want /services/SERVICE/ID"},
	} {
		got, err := registry.Decode("/services/", tc.key, tc.val)
		if !errors.Is(err, registry.ErrValue) || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("decode %q = %q: got %+v, %v, want ErrValue with %q", tc.key, tc.val, got, err, tc.text)
		}
	}
}

func TestWhatCannotBeRegisteredIsNamed(t *testing.T) {
	good := registry.Instance{Service: "web", ID: "a", Addr: "h:1"}
	for _, tc := range []struct {
		text string
		edit func(*registry.Instance)
	}{
		{"service is empty", func(i *registry.Instance) { i.Service = "" }},
		{`service "a/b"`, func(i *registry.Instance) { i.Service = "a/b" }},
		{`id ".."`, func(i *registry.Instance) { i.ID = ".." }},
		{`id "a b"`, func(i *registry.Instance) { i.ID = "a b" }},
		{`id "a\x00"`, func(i *registry.Instance) { i.ID = "a\x00" }},
		{"has 201 bytes", func(i *registry.Instance) { i.ID = strings.Repeat("x", 201) }},
		{"is not UTF-8", func(i *registry.Instance) { i.ID = "\xff" }},
		{`address "h": want host:port`, func(i *registry.Instance) { i.Addr = "h" }},
		{`port "0"`, func(i *registry.Instance) { i.Addr = "h:0" }},
		{`host ""`, func(i *registry.Instance) { i.Addr = ":80" }},
		{"weight -1", func(i *registry.Instance) { i.Weight = -1 }},
		{`status "up"`, func(i *registry.Instance) { i.Status = "up" }},
		{"want at most 65536", func(i *registry.Instance) { i.Reason = strings.Repeat("x", 64<<10) }},
		{`check "c": status "up"`, func(i *registry.Instance) { i.Checks = []health.Result{{Name: "c", Status: "up"}} }},
		{"output of check c", func(i *registry.Instance) {
			i.Checks = []health.Result{{Name: "c", Status: health.Passing, Output: "\xff"}}
		}},
		{"metadata k", func(i *registry.Instance) { i.Metadata = map[string]string{"k": "\x00"} }},
	} {
		i := good
		tc.edit(&i)
		if val, err := i.Encode(); !errors.Is(err, registry.ErrInvalid) || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("encode %+v: got %q, %v, want ErrInvalid with %q", i, val, err, tc.text)
		}
	}
}

func TestAMissingHostBecomesOneThatOthersCanDial(t *testing.T) {
	for _, listen := range []string{"h:80", "127.0.0.1:80", "[fd00::1]:80"} {
		if got, err := registry.Advertise(listen); err != nil || got != listen {
			t.Errorf("%s: got %s, %v, want it as it is", listen, got, err)
		}
	}
	for _, listen := range []string{":80", "0.0.0.0:80", "[::]:80"} {
		got, err := registry.Advertise(listen)
		if err != nil { // a machine without a network
			if !errors.Is(err, registry.ErrInvalid) || !strings.Contains(err.Error(), "set Addr") {
				t.Errorf("%s: %v, want ErrInvalid that says what to set", listen, err)
			}
			continue
		}
		host, port, err := net.SplitHostPort(got)
		if ip := net.ParseIP(host); err != nil || port != "80" || ip == nil || ip.IsLoopback() || ip.IsUnspecified() {
			t.Errorf("%s: got %s, want an address of this machine's network", listen, got)
		}
	}
	if got, err := registry.Advertise("80"); !errors.Is(err, registry.ErrInvalid) {
		t.Errorf("80: got %s, %v, want ErrInvalid", got, err)
	}
}

// Whatever decodes can be registered as it was read, and decodes to the same again.
func FuzzDecode(f *testing.F) {
	f.Add("/services/web/a", "10.0.0.1:80")
	f.Add("/services/web/a", `{"Op":0,"Addr":"h:1","Metadata":{"weight":3,"tags":["x"],"status":"draining"}}`)
	f.Add("/services/web/a", `{"Op":0,"Addr":"h:1","Metadata":{"weight":3,"status":"critical","checks":[{"name":"c","status":"critical","output":"x","at":"2026-08-01T12:00:00+09:00"}]}}`)
	f.Add("/services/web/a", `{"Addr":"h:1","Metadata":{"x":1,"checks":[{"name":"c","status":"passing","at":"0000-01-01T00:00:00+09:00"}]}}`)
	f.Add("/services//a", `{"Addr":"h:1"}`)
	f.Add("/services/../a", "x")
	f.Fuzz(func(t *testing.T, key, val string) {
		i, err := registry.Decode("/services/", key, val)
		if err != nil {
			if !errors.Is(err, registry.ErrValue) {
				t.Fatalf("%q = %q: %v is not ErrValue", key, val, err)
			}
			return
		}
		again, err := i.Encode()
		if err != nil {
			t.Fatalf("%q = %q: decoded to %+v, which cannot be registered: %v", key, val, i, err)
		}
		if i.Raw == "" && !json.Valid([]byte(again)) {
			t.Fatalf("%q is not JSON", again)
		}
		second, err := registry.Decode("/services/", key, again)
		if err != nil || !reflect.DeepEqual(second, i) {
			t.Fatalf("%q = %q: %+v, then %+v, %v", key, val, i, second, err)
		}
	})
}
