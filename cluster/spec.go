package cluster

import "time"

// spec is all that one member needs to know. It travels to a member process as JSON.
type spec struct {
	Name           string `json:"name"`
	Dir            string `json:"dir"`
	LogFile        string `json:"log_file"`
	Token          string `json:"token"`
	InitialCluster string `json:"initial_cluster"`
	OwnSocket      string `json:"own_socket"`    // of the cluster itself, never TLS
	ClientSocket   string `json:"client_socket"` // behind the client port; the same without TLS
	PeerSocket     string `json:"peer_socket"`
	ClientURL      string `json:"client_url"`
	PeerURL        string `json:"peer_url"`
	TLS            *TLS   `json:"tls,omitempty"`
	Direct         bool   `json:"direct,omitempty"` // it listens on the URLs itself
	Gateway        bool   `json:"gateway,omitempty"`
	QuotaBytes     int64  `json:"quota_bytes,omitempty"`

	AuthTokenTTL time.Duration `json:"auth_token_ttl_ns,omitempty"`
	BcryptCost   int           `json:"bcrypt_cost,omitempty"`
}

// report is what a member reports of itself whenever it changes, the first time when it serves.
type report struct {
	ID     uint64 `json:"id"`
	Leader uint64 `json:"leader"` // 0 while it knows none
	Term   uint64 `json:"term"`
}
