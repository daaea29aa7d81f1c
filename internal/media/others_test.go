package media

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/tidings-im/tidings/internal/testing/soak"
)

// TestOthersPayNothing: half-open uploads by the thousand, uploads at 10 bytes per second, readers that have stopped and readers that are slow keep no other user
// from uploading and downloading. A half-open upload has neither a goroutine nor an open file.
func TestOthersPayNothing(t *testing.T) {
	p := start(t, Config{})
	data := noise(10, 100<<10)
	read, token := p.user("bob")
	cycle := func() (took []time.Duration) {
		for range 10 {
			begin := time.Now()
			path := p.put(token, "file", data)
			if a := p.ask("GET", path, read, nil); a.status != 200 || !bytes.Equal(a.body, data) {
				t.Fatalf("it came back with %d and %d bytes", a.status, len(a.body))
			}
			took = append(took, time.Since(begin))
		}
		slices.Sort(took)
		return took
	}
	before := cycle()
	half := soak.Pick(100, 10_000)
	p.client.CloseIdleConnections()
	routines, files := runtime.NumGoroutine(), openFiles(t)
	for i := range half / defaultOpen {
		_, token := p.user(fmt.Sprint("half", i))
		for range defaultOpen {
			p.wantStatus(p.patch(token, p.create(token, "file", 100<<20), 0, data[:1]), 204)
		}
		p.wantStatus(p.ask("POST", uploadPrefix, token, nil, "Upload-Length", "1"), 429)
	}
	p.client.CloseIdleConnections()
	if more := runtime.NumGoroutine() - routines; more > 20 {
		t.Errorf("%d goroutines for %d half-open uploads", more, half)
	}
	if more := openFiles(t) - files; more > 20 {
		t.Errorf("%d open files for %d half-open uploads", more, half)
	}
	stop := make(chan struct{})
	var ended []<-chan error
	for i := range 10 {
		_, token := p.user(fmt.Sprint("slow", i))
		path := p.create(token, "file", 1<<20)
		r, w := io.Pipe()
		got := make(chan error, 1)
		ended = append(ended, got)
		go func() {
			_, err := p.try("PATCH", path, token, r, "Upload-Offset", "0", "Content-Type", patchType)
			got <- err
		}()
		go func() { // 10 bytes per second
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			defer w.Close()
			for {
				if _, err := w.Write([]byte("x")); err != nil {
					return
				}
				select {
				case <-tick.C:
				case <-stop:
					return
				}
			}
		}()
	}
	reader, uploads := p.user("reader")
	large := p.put(uploads, "file", noise(11, 20<<20))
	for i := range 10 {
		req, err := http.NewRequest("GET", p.http.URL+large, nil)
		p.ok(err)
		req.Header.Set("Authorization", "Bearer "+reader)
		resp, err := p.client.Do(req)
		p.ok(err)
		defer resp.Body.Close()
		if i%2 == 0 { // others read nothing at all
			_, err := io.ReadFull(resp.Body, make([]byte, 10))
			p.ok(err)
		}
	}
	for p.inUse() != 20 {
		time.Sleep(time.Millisecond)
	}
	during := cycle()
	t.Logf("an upload and a download take %v alone, and %v beside %d half-open uploads", before[5], during[5], half)
	if during[5] > 10*before[5]+time.Second {
		t.Errorf("an upload and a download take %v instead of %v", during[5], before[5])
	}
	if n := p.inUse(); n != 20 {
		t.Errorf("%d of 20 slow transfers go on", n)
	}
	close(stop)
	for _, e := range ended {
		<-e
	}
}

// openFiles returns how many files this process has open, if the system has /proc.
func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return len(list)
}
