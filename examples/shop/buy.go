package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/discovery/httptransport"
)

// perSecond is how many requests buy sends.
const perSecond = 200

// buy is a load generator: it sends requests to a front, and says each second how many were answered.
func buy(ctx context.Context, cli *clientv3.Client) error {
	transport := httptransport.New(cli, nil)
	defer transport.Close()
	web := &http.Client{Transport: transport, Timeout: requestTimeout}
	fronts, err := transport.View(ctx, "front")
	if err != nil {
		return err
	}
	if changed := fronts.Changed(); len(fronts.Instances()) == 0 {
		fmt.Println("waiting for a front")
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
	var asking sync.WaitGroup
	var mu sync.Mutex
	var answers, failed int
	var example, trouble string
	ask := time.NewTicker(time.Second / perSecond)
	defer ask.Stop()
	tell := time.NewTicker(time.Second)
	defer tell.Stop()
	for ctx.Err() == nil {
		select {
		case <-ask.C:
			asking.Go(func() {
				text, err := get(web, "http://front/items/apple")
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed++
					if err.Error() != trouble { // usually the same for all of a second
						trouble = err.Error()
						fmt.Println("failed:", trouble)
					}
					return
				}
				answers, example = answers+1, text
			})
		case <-tell.C:
			mu.Lock()
			fmt.Printf("%d answers, %d failed, %d retried · %s\n", answers, failed, transport.Stats().Retries, example)
			mu.Unlock()
		case <-ctx.Done():
		}
	}
	asking.Wait()
	fmt.Printf("in all %d answers, %d failed\n", answers, failed)
	return nil
}

func get(web *http.Client, url string) (string, error) {
	resp, err := web.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	text := strings.TrimSpace(string(body))
	if resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return text, err
}
