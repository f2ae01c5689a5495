package fence_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/etcdkit/etcdkit/lock/fence"
)

func ExampleHandler() {
	store := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "stored %q", text)
	})
	service := httptest.NewServer(fence.Handler(store, &fence.Options{
		Name: func(r *http.Request) string { return "files/" + r.Host }, // one lock for all files of a host
	}))
	defer service.Close()
	client := service.Client()

	save := func(token int64, text string) {
		req, err := http.NewRequest(http.MethodPut, service.URL+"/report", strings.NewReader(text))
		if err != nil {
			log.Fatal(err)
		}
		req.Host = "vm7"
		fence.SetToken(req.Header, token) // hold.Token()
		resp, err := client.Do(req)
		if err != nil {
			log.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(resp.StatusCode, strings.TrimSpace(string(answer)))
	}
	save(33, "by the first holder")
	save(34, "by the second one")
	save(33, "by the first one, which was paused")
	// Output:
	// 200 stored "by the first holder"
	// 200 stored "by the second one"
	// 412 fence: stale token: lock "files/vm7" has been passed on from 33 to 34: acquire it again
}
