// Package backup saves, checks and restores snapshots of etcd's database. What a snapshot is, and how it becomes a data
// directory, is upstream's code: that of etcdctl snapshot save and of etcdutl snapshot.
package backup

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
)

// Status is what is in a snapshot.
type Status struct {
	Revision int64  `json:"revision"`
	Keys     int    `json:"keys"`
	Size     int64  `json:"size_bytes"`
	Hash     string `json:"hash"`    // of keys and values, as etcdutl prints it
	Version  string `json:"version"` // of etcd's storage; "" before 3.6
	// Checksum says whether the file ends with the SHA-256 of its content: "ok", or "none" for a file that was copied from a
	// data directory. With a wrong one there is no Status.
	Checksum string `json:"checksum"`
}

// ErrDamaged: the file is no snapshot, or was damaged or cut off.
var ErrDamaged = errors.New("damaged, or no snapshot")

// sector is what the size of a database is a multiple of. The checksum comes on top.
const sector = 512

// Save writes the database of one member to w. step is called with the bytes so far.
func Save(ctx context.Context, cli *clientv3.Client, w io.Writer, step func(n int64)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := silence(cancel)
	defer silent.Stop()
	resp, err := cli.SnapshotWithVersion(ctx)
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	defer resp.Snapshot.Close() // which ends clientv3's goroutine
	buf := make([]byte, 1<<20)
	for n := int64(0); ; {
		k, err := resp.Snapshot.Read(buf)
		silent.Reset(silenceTimeout)
		if k > 0 {
			if _, err := w.Write(buf[:k]); err != nil {
				return err
			}
			n += int64(k)
			step(n)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return err
		}
	}
}

// Check reads a snapshot to its end, and says what is in it. The error is an ErrDamaged if it is none.
func Check(ctx context.Context, name string) (s *Status, err error) {
	checksum, err := checkSum(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { // bbolt does so with a file that is not its own
		if r := recover(); r != nil {
			s, err = nil, fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}()
	got, err := snapshot.NewV3(zap.NewNop()).Status(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return &Status{
		Revision: got.Revision, Keys: got.TotalKey, Size: got.TotalSize, Hash: fmt.Sprintf("%x", got.Hash), Version: got.Version, Checksum: checksum,
	}, nil
}

// checkSum compares the checksum at the end of a file with its content.
func checkSum(ctx context.Context, name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%w: not a file", ErrDamaged)
	}
	content := info.Size() - sha256.Size
	if info.Size()%sector == 0 && info.Size() > 0 {
		return "none", nil
	}
	if content <= 0 || content%sector != 0 {
		return "", fmt.Errorf("%w: %d bytes: was it cut off?", ErrDamaged, info.Size())
	}
	h := sha256.New()
	for left := content; left > 0; { // in parts, so that it can be interrupted
		n, err := io.CopyN(h, f, min(left, 64<<20))
		if err != nil {
			return "", err
		}
		if left -= n; ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
	}
	said := make([]byte, sha256.Size)
	if _, err := io.ReadFull(f, said); err != nil {
		return "", err
	}
	if [sha256.Size]byte(said) != [sha256.Size]byte(h.Sum(nil)) {
		return "", fmt.Errorf("%w: its content does not match its SHA-256", ErrDamaged)
	}
	return "ok", nil
}
