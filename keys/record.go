package keys

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Record is a key as an export has it. In JSON it is one line:
//
//	{"key":"web/1","value":"10.0.0.1","lease":"694d8f2c11a3e0b7","lease_ttl_seconds":60,"lease_remaining_seconds":51,
//	 "create_revision":7,"mod_revision":9,"version":2}
//
// An import needs the key and the value, and, for a key on a lease, the lease and its TTL.
type Record struct {
	Key   Bytes
	Value Bytes
	Lease clientv3.LeaseID // 0: none

	// LeaseTTL is what the lease was granted with and LeaseRemaining what is left of it, in whole seconds. Both are 0
	// without a lease, and for a lease that has ended: see LeaseEnded. In JSON such a lease has the TTL 0 and -1 left.
	LeaseTTL       time.Duration
	LeaseRemaining time.Duration

	CreateRevision int64
	ModRevision    int64
	Version        int64
}

// recordJSON is a Record in JSON. Pointers tell what is missing.
type recordJSON struct {
	Key            *Bytes `json:"key"`
	Value          *Bytes `json:"value"`
	Lease          string `json:"lease"`
	LeaseTTL       int64  `json:"lease_ttl_seconds"`
	LeaseRemaining int64  `json:"lease_remaining_seconds"`
	CreateRevision int64  `json:"create_revision"`
	ModRevision    int64  `json:"mod_revision"`
	Version        int64  `json:"version"`
}

// MarshalJSON returns the record in one line.
func (r Record) MarshalJSON() ([]byte, error) {
	remaining := int64(r.LeaseRemaining / time.Second)
	if r.LeaseEnded() {
		remaining = -1
	}
	return line(recordJSON{
		&r.Key, &r.Value, strconv.FormatUint(uint64(r.Lease), 16), wholeSeconds(r.LeaseTTL), remaining,
		r.CreateRevision, r.ModRevision, r.Version,
	})
}

// UnmarshalJSON refuses a record without a key or a value, and one whose lease has no TTL. Fields that it does
// not know are ignored.
func (r *Record) UnmarshalJSON(text []byte) error {
	var j recordJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	switch {
	case j.Key == nil:
		return errors.New(`no "key"`)
	case len(*j.Key) == 0:
		return errors.New(`the "key" is empty`)
	case j.Value == nil:
		return errors.New(`no "value"`)
	}
	*r = Record{
		Key: *j.Key, Value: *j.Value, LeaseTTL: seconds(j.LeaseTTL), LeaseRemaining: seconds(j.LeaseRemaining),
		CreateRevision: j.CreateRevision, ModRevision: j.ModRevision, Version: j.Version,
	}
	if j.Lease != "" {
		id, err := strconv.ParseUint(j.Lease, 16, 64)
		if err != nil {
			return fmt.Errorf(`"lease" %q: want hexadecimal digits`, j.Lease)
		}
		r.Lease = clientv3.LeaseID(id)
	}
	switch {
	case r.LeaseEnded() && j.LeaseRemaining >= 0:
		return errors.New(`a "lease" without "lease_ttl_seconds": how long would it live?`)
	case j.LeaseTTL > longestTTL:
		return fmt.Errorf(`"lease_ttl_seconds" %d: etcd takes %d at most`, j.LeaseTTL, longestTTL)
	}
	return nil
}

// LeaseEnded tells whether the key is on a lease that had ended when the export asked about it. The key is gone by now,
// or will be soon. Import skips it.
func (r Record) LeaseEnded() bool { return r.Lease != 0 && r.LeaseTTL <= 0 }

// longestTTL is etcd's, in seconds.
const longestTTL = 9_000_000_000

// seconds is a time as etcd tells it; less than 0 is 0.
func seconds(n int64) time.Duration { return time.Duration(max(0, min(n, longestTTL))) * time.Second }

// wholeSeconds is a TTL as etcd wants it: rounded up, so that a lease does not end early.
func wholeSeconds(d time.Duration) int64 { return int64((max(d, 0) + time.Second - 1) / time.Second) }

// Header is the first line of an export:
//
//	{"etcdkit_export":1,"cluster_id":"cdf818194e3a8c32","revision":42,"prefix":"web/","count":3}
type Header struct {
	ClusterID uint64
	Revision  int64 // all records are as they were at it
	Prefix    Bytes
	Count     int64 // records that follow: a file with fewer is not complete
}

// formatVersion is that of an export, which its header says.
const formatVersion = 1

type headerJSON struct {
	Format    *int   `json:"etcdkit_export"`
	ClusterID string `json:"cluster_id"`
	Revision  int64  `json:"revision"`
	Prefix    *Bytes `json:"prefix"`
	Count     *int64 `json:"count"`
}

// MarshalJSON returns the header in one line.
func (h Header) MarshalJSON() ([]byte, error) {
	version := formatVersion
	return line(headerJSON{&version, strconv.FormatUint(h.ClusterID, 16), h.Revision, &h.Prefix, &h.Count})
}

// UnmarshalJSON refuses what is no header, and one of another version.
func (h *Header) UnmarshalJSON(text []byte) error {
	var j headerJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	if j.Format == nil || j.Prefix == nil || j.Count == nil {
		return errors.New("no header of an export")
	}
	if *j.Format != formatVersion {
		return fmt.Errorf("an export of version %d: this program knows version %d only", *j.Format, formatVersion)
	}
	id, err := strconv.ParseUint(j.ClusterID, 16, 64)
	if err != nil {
		return fmt.Errorf(`"cluster_id" %q: want hexadecimal digits`, j.ClusterID)
	}
	*h = Header{id, j.Revision, *j.Prefix, *j.Count}
	return nil
}

// line is JSON in one line, without a newline and with <, > and & as they are: a caller's encoder still decides what it
// prints of those.
func line(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
