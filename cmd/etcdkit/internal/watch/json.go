package watch

import (
	"strconv"

	"github.com/etcdkit/etcdkit/keys"
	"github.com/etcdkit/etcdkit/mirror"
)

// Document is a Batch as a command reads it on its stdin.
type Document struct {
	Revision int64    `json:"revision"`
	Reason   Reason   `json:"reason"`
	Changes  []Change `json:"changes"`
}

// Change is a change as JSON.
type Change struct {
	Type           string      `json:"type"` // put or delete
	Key            keys.Bytes  `json:"key"`
	Value          *keys.Bytes `json:"value"`      // null if it was deleted
	PrevValue      *keys.Bytes `json:"prev_value"` // null if there was none
	Revision       int64       `json:"revision"`
	CreateRevision int64       `json:"create_revision"` // 0 if it was deleted
	Version        int64       `json:"version"`         // 0 if it was deleted
	Lease          string      `json:"lease"`           // hexadecimal; 0: none
	Synthesised    bool        `json:"synthesised"`     // found by comparing: there may have been others in between
}

// NewDocument is a batch as JSON.
func NewDocument(b Batch) Document {
	d := Document{b.Revision, b.Reason, make([]Change, 0, len(b.Changes))}
	for _, c := range b.Changes {
		d.Changes = append(d.Changes, NewChange(c))
	}
	return d
}

// NewChange is a change as JSON.
func NewChange(c mirror.Change) Change {
	made := Change{Type: "delete", Key: keys.Bytes(c.Key), Revision: c.Revision, Lease: "0", Synthesised: c.Synthesised}
	if c.Old != nil {
		made.PrevValue = asBytes(c.Old.Value)
	}
	if c.New != nil {
		made.Type, made.Value = "put", asBytes(c.New.Value)
		made.CreateRevision, made.Version = c.New.CreateRevision, c.New.Version
		made.Lease = strconv.FormatUint(uint64(c.New.Lease), 16)
	}
	return made
}

func asBytes(value string) *keys.Bytes {
	b := keys.Bytes(value)
	return &b
}
