//go:build !etcdkit_client

package cluster

import (
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// leaderPoll is how often a member looks at its own raft state. etcd notifies of a new leader
// and not of a lost one, so it is read instead: an atomic load.
const leaderPoll = 10 * time.Millisecond

// server is the member itself, etcd embedded in the process that runs it.
type server struct {
	etcd *embed.Etcd
	log  *os.File
}

// startServer returns once the member serves clients, which takes a quorum of started members.
// It calls bound as soon as the member answers its peers.
func startServer(s spec, warnings io.Writer, bound func(), stop <-chan struct{}) (*server, error) {
	log, err := os.OpenFile(s.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	for _, stale := range []string{s.OwnSocket, s.ClientSocket, s.PeerSocket} {
		if err := os.Remove(stale); err != nil && !os.IsNotExist(err) {
			log.Close()
			return nil, err
		}
	}
	cfg, err := s.config(log, warnings)
	if err != nil {
		log.Close()
		return nil, err
	}
	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		log.Close()
		return nil, err
	}
	bound()
	srv := &server{etcd: etcd, log: log}
	if err := srv.ready(stop); err != nil {
		srv.close(false)
		return nil, err
	}
	return srv, nil
}

// ready waits until the member serves.
func (s *server) ready(stop <-chan struct{}) error {
	tick := time.NewTicker(leaderPoll)
	defer tick.Stop()
	for {
		select {
		case <-s.etcd.Server.ReadyNotify():
			return nil
		case <-s.etcd.Server.StopNotify():
			return errors.New("etcd stopped while starting")
		case err := <-s.etcd.Err():
			return err
		case <-stop:
			return context.Canceled
		case <-tick.C:
			s.campaignAlone()
		}
	}
}

// campaignAlone makes a single member elect itself now rather than after its election timeout
// of up to 1 s, with the message by which a leader hands over. With more members it does
// nothing: there a campaign before all are connected costs more than it saves.
func (s *server) campaignAlone() {
	srv := s.etcd.Server
	if srv.Lead() != 0 || len(srv.Cluster().Members()) != 1 {
		return
	}
	id := uint64(srv.MemberID())
	ctx, cancel := context.WithTimeout(context.Background(), orderTimeout)
	defer cancel()
	// An error is a server that stops, which ready sees.
	_ = srv.Process(ctx, &raftpb.Message{Type: raftpb.MsgTimeoutNow.Enum(), From: &id, To: &id})
}

func (s spec) config(log, warnings io.Writer) (*embed.Config, error) {
	cfg := embed.NewConfig()
	cfg.Name = s.Name
	cfg.Dir = s.Dir
	cfg.InitialCluster = s.InitialCluster
	cfg.InitialClusterToken = s.Token
	client, err := url.Parse(s.ClientURL)
	if err != nil {
		return nil, err
	}
	peer, err := url.Parse(s.PeerURL)
	if err != nil {
		return nil, err
	}
	cfg.AdvertiseClientUrls, cfg.AdvertisePeerUrls = []url.URL{*client}, []url.URL{*peer}
	// Behind its proxies the member listens on unix sockets only. embed takes a unix listener's
	// path from Host.
	cfg.ListenClientUrls = []url.URL{{Scheme: "unix", Host: s.OwnSocket}}
	cfg.ListenPeerUrls = []url.URL{{Scheme: "unix", Host: s.PeerSocket}}
	switch {
	case s.Direct:
		cfg.ListenClientUrls = append(cfg.ListenClientUrls, *client)
		cfg.ListenPeerUrls = []url.URL{*peer}
	case s.TLS != nil:
		cfg.ListenClientUrls = append(cfg.ListenClientUrls, url.URL{Scheme: "unixs", Host: s.ClientSocket})
	}
	if s.TLS != nil {
		cfg.ClientTLSInfo = transport.TLSInfo{
			CertFile: s.TLS.CertFile, KeyFile: s.TLS.KeyFile,
			TrustedCAFile: s.TLS.ClientCAFile, ClientCertAuth: s.TLS.ClientCAFile != "",
		}
	}
	// embed's defaults would let any web page read a local etcd.
	cfg.EnableGRPCGateway = s.Gateway
	cfg.CORS = map[string]struct{}{s.ClientURL: {}} // none means all
	cfg.HostWhitelist = map[string]struct{}{"127.0.0.1": {}, "localhost": {}}
	cfg.QuotaBackendBytes = s.QuotaBytes
	if s.AuthTokenTTL > 0 {
		cfg.AuthTokenTTL = uint(s.AuthTokenTTL / time.Second)
	}
	if s.BcryptCost > 0 {
		cfg.BcryptCost = uint(s.BcryptCost)
	}
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger(log, warnings))
	return cfg, nil
}

// logger writes everything to the member's log file and warnings, one JSON object a line, to
// the process that runs it.
func logger(log, warnings io.Writer) *zap.Logger {
	ec := zap.NewProductionEncoderConfig()
	ec.EncodeTime = zapcore.ISO8601TimeEncoder
	enc := zapcore.NewJSONEncoder(ec)
	return zap.New(zapcore.NewTee(
		zapcore.NewCore(enc, zapcore.AddSync(log), zap.InfoLevel),
		zapcore.NewCore(enc, zapcore.AddSync(warnings), zap.WarnLevel),
	), zap.AddCaller())
}

// watch calls tell with every change of the member's view, until the member or stop ends.
func (s *server) watch(stop <-chan struct{}, tell func(report)) {
	tick := time.NewTicker(leaderPoll)
	defer tick.Stop()
	var last report
	for {
		if now := s.report(); now != last {
			tell(now)
			last = now
		}
		select {
		case <-tick.C:
		case <-s.etcd.Server.StopNotify():
			return
		case <-stop:
			return
		}
	}
}

func (s *server) report() report {
	srv := s.etcd.Server
	return report{ID: uint64(srv.MemberID()), Leader: srv.Lead(), Term: srv.Term()}
}

// move hands leadership, which this member has, to another.
func (s *server) move(ctx context.Context, to uint64) error {
	return s.etcd.Server.MoveLeader(ctx, s.etcd.Server.Lead(), to)
}

// close ends the member cleanly. A leader that hands over first lets the others go on without
// an election; when all must end there is no member to hand over to, and etcd would wait 7 s.
func (s *server) close(handOver bool) {
	if !handOver {
		s.etcd.Server.HardStop()
	}
	s.etcd.Close()
	s.log.Close()
}
