package health

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// GRPC is a check by the standard protocol grpc.health.v1. It passes if the instance answers SERVING
// for the service; "" is the instance as a whole. The connection is plaintext unless opts say
// otherwise, as in
//
//	health.GRPC("", grpc.WithTransportCredentials(creds))
func GRPC(service string, opts ...grpc.DialOption) Check {
	opts = append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy()}, opts...)
	dial := func(addr string) (*grpc.ClientConn, error) { return grpc.NewClient("passthrough:///"+addr, opts...) }
	return Check{
		Name: strings.TrimSpace("grpc " + service),
		Probe: func(ctx context.Context, addr string) (string, error) {
			conn, err := dial(addr)
			if err != nil {
				return "", err
			}
			defer conn.Close()
			resp, err := pb.NewHealthClient(conn).Check(ctx, &pb.HealthCheckRequest{Service: service})
			if err != nil {
				s := status.Convert(err)
				return "", fmt.Errorf("%v: %s", s.Code(), s.Message())
			}
			if resp.GetStatus() != pb.HealthCheckResponse_SERVING {
				return resp.GetStatus().String(), errFailed
			}
			return resp.GetStatus().String(), nil
		},
		usable: func() error { // options can contradict one another
			conn, err := dial("localhost:1")
			if err != nil {
				return err
			}
			return conn.Close()
		},
	}
}
