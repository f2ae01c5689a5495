package registry_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/etcdtest"
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
		// A file's or a shell's end of line.
		"10.0.0.1:80\n":         {Addr: "10.0.0.1:80"},
		" {\"Addr\":\"h:1\"}\n": {Addr: "h:1"},
		// Other libraries'.
		`{"network":"tcp","address":"127.0.0.1:8888","weight":10,"tags":{"idc":"a"}}`: {
			Addr: "127.0.0.1:8888", Weight: 10, Metadata: map[string]string{"idc": "a"}},
		`{"id":"x","name":"web","version":"v1","metadata":{"zone":"b"},"endpoints":["grpc://127.0.0.1:9000?isSecure=false","http://127.0.0.1:8000?isSecure=false"]}`: {
			Addr: "127.0.0.1:9000", Version: "v1", Zone: "b", Metadata: map[string]string{"endpoint.1": "http://127.0.0.1:8000?isSecure=false"}},
		`{"name":"web","version":"latest","metadata":null,"endpoints":[{"name":"Say.Hello"}],"nodes":[{"id":"x","address":"192.168.1.2:34567","metadata":{"protocol":"grpc"}}]}`: {
			Addr: "192.168.1.2:34567", Version: "latest", Metadata: map[string]string{"protocol": "grpc"}},
		`{"host":"10.0.0.1","port":80}`:                              {Addr: "10.0.0.1:80"},
		`{"ip":"::1","port":"80"}`:                                   {Addr: "[::1]:80"},
		`{"Addr":"h:1","host":5,"nodes":"x","Metadata":{"new":"x"}}`: {Addr: "h:1", Metadata: map[string]string{"new": "x"}},
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
	for _, listen := range []string{":80", "0.0.0.0:80", "[::]:80", "*:80", "0:80", "[::%lo]:80", "[::ffff:0.0.0.0]:80"} {
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

func TestAnAddressThatOthersCannotDialIsRefusedWithTheReason(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	before := get(t, cli, prefix).Header.Revision
	for addr, why := range map[string]string{
		"80":                       "want host:port or :port",
		"h:http":                   `port "http": want 1 to 65535`,
		"[fe80::1%eth0]:80":        `zone "eth0" is a name that only this machine knows`,
		"224.0.0.1:80":             "it stands for many machines",
		"255.255.255.255:80":       "it stands for many machines",
		"127.1:80":                 "no name ends in a number",
		"10.0.0.08:80":             "no name ends in a number",
		"0x7f000001:80":            "no name ends in a number",
		"*.example.com:80":         "is neither an IP address nor a name",
		`h"x:80`:                   `host "h\"x" is neither`,
		"h%20x:80":                 "is neither an IP address nor a name",
		"unix:///run/web.sock":     "cannot dial a unix socket",
		"unix:/run/web.sock":       "cannot dial a unix socket",
		"/run/web.sock":            "cannot dial a unix socket",
		"\u001b[2J:80":             `"\x1b[2J:80"`,
		strings.Repeat("x", 1<<20): "(1048576 bytes)",
	} {
		reg, err := registry.Register(bounded(t), cli, registry.Instance{Service: "web", ID: "a", Addr: addr}, &registry.Options{Prefix: prefix})
		if reg != nil || !errors.Is(err, registry.ErrInvalid) || !strings.Contains(err.Error(), why) || len(err.Error()) > 1000 {
			t.Errorf("%.40q: got %v, %.200v, want ErrInvalid with %q", addr, reg, err, why)
		}
	}
	for _, listen := range []string{"*:80", "0:80", ":80", "0.0.0.0:80", "[::]:80"} {
		reg := register(t, cli, web("a"), &registry.Options{Prefix: prefix})
		at := get(t, cli, prefix+"web/a").Header.Revision
		if err := reg.Update(bounded(t), func(i *registry.Instance) { i.Addr = listen }); !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("update to %s: got %v, want ErrInvalid", listen, err)
		}
		if kv := get(t, cli, prefix+"web/a").Kvs[0]; kv.ModRevision > at {
			t.Errorf("update to %s wrote %s", listen, kv.Value)
		}
		if err := reg.Close(); err != nil {
			t.Fatal(err)
		}
		before = get(t, cli, prefix).Header.Revision
	}
	for _, addr := range []string{"h:1", "10.0.0.1:80", "[fd00::1]:80", "host_1.example.com.:80", "서울.example:80", "xn--h32b.example:80", "3com.example:80"} {
		if got, err := registry.Advertise(addr); err != nil || got != addr {
			t.Errorf("%s: got %s, %v, want it as it is", addr, got, err)
		}
	}
	if after := get(t, cli, prefix).Header.Revision; after != before {
		t.Errorf("revision %d, want %d: nothing was to be sent", after, before)
	}
}

func TestOddNamesAreKeptAsTheyAre(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	for _, name := range []string{`a"b'c`, "100%", "%2F", `a\b`, "a:b@c", "서울-1", "a?b=c&d#e", "{}", "...", strings.Repeat("é", 100)} {
		reg := register(t, cli, registry.Instance{Service: name, ID: name, Addr: "h:1"}, &registry.Options{Prefix: prefix})
		key := prefix + name + "/" + name
		kvs := get(t, cli, key).Kvs
		if len(kvs) != 1 {
			t.Errorf("%s: got %v, want its key", name, kvs)
			continue
		}
		if i, err := registry.Decode(prefix, key, string(kvs[0].Value)); err != nil || i.Service != name || i.ID != name {
			t.Errorf("%s: decoded to %+v, %v", name, i, err)
		}
		if err := reg.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"a/b", "a b", "a\nb", "a\x1b[2J", "..", "", "\xff", strings.Repeat("x", 1024)} {
		for _, i := range []registry.Instance{{Service: name, ID: "a", Addr: "h:1"}, {Service: "web", ID: name, Addr: "h:1"}} {
			if i.ID == "" {
				continue // becomes HOST-PORT
			}
			reg, err := registry.Register(bounded(t), cli, i, &registry.Options{Prefix: prefix})
			if reg != nil || !errors.Is(err, registry.ErrInvalid) || len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("%.40q: got %v, %.200q, want ErrInvalid in short", name, reg, err)
			}
		}
	}
}

// A client that may write below the prefix must not reach a reader's terminal, nor fill its log.
func TestWhatOthersWroteIsQuotedAndCut(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	evil := "\x1b[2J\n\u202e" + strings.Repeat("x", 60_000)
	value := func(edit func(*registry.Instance)) string {
		i := registry.Instance{Service: "web", ID: "a", Addr: "h:1", Host: "vm", PID: 7}
		edit(&i)
		val, err := i.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return val
	}
	for name, val := range map[string]string{
		"host":    value(func(i *registry.Instance) { i.Host = evil }),
		"version": value(func(i *registry.Instance) { i.Version = evil }),
		"zone":    value(func(i *registry.Instance) { i.Zone = evil }),
		"reason":  value(func(i *registry.Instance) { i.Reason = evil }),
		"check output": value(func(i *registry.Instance) {
			i.Checks = []health.Result{{Name: "c", Status: health.Critical, Output: evil}}
		}),
		"raw":        evil,
		"address":    fmt.Sprintf(`{"Addr":%q}`, strings.Repeat("\u009b", 30_000)),
		"a megabyte": strings.Repeat("x", 1<<20),
		"process":    `{"Addr":"h:1","Metadata":{"host":"vm","pid":7},"Process":"\u001b[2J.1.\u001b[2J.1"}`,
	} {
		if _, err := cli.Put(bounded(t), prefix+"web/a", val); err != nil {
			t.Fatal(err)
		}
		_, err := registry.Register(bounded(t), cli, web("a"), &registry.Options{Prefix: prefix})
		if !errors.Is(err, registry.ErrExists) || len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\x1b\n\u202e\u009b") {
			t.Errorf("%s: got %.300q (%d bytes), want ErrExists in short and in plain text", name, err, len(fmt.Sprint(err)))
		}
		_, err = registry.Decode(prefix, prefix+"web/a", val)
		if err != nil && (len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\x1b\n\u202e\u009b")) {
			t.Errorf("%s: decode says %.300q (%d bytes), want it in short and in plain text", name, err, len(fmt.Sprint(err)))
		}
	}
	if _, err := registry.Decode(prefix, prefix+"web/a", `{"Addr":"h:1","Metadata":{`+strings.Repeat(`"k":"v",`, 90_000)+`"x":"y"}}`); !errors.Is(err, registry.ErrValue) || !strings.Contains(err.Error(), "want at most 65536") {
		t.Errorf("a value of 720 KB: got %v, want ErrValue with the bound", err)
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
