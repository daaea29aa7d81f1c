package client_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// BenchmarkMissed is a login with 10,000 missed messages: until the last callback, with the local database written.
func BenchmarkMissed(b *testing.B) {
	const n = 10000
	s := imtest.Start(b)
	cfg := config(b, s, "bob")
	cfg.Log = nil
	bob := dial(b, cfg)
	bob.Close()
	acfg := config(b, s, "alice")
	acfg.Log = nil
	alice := dial(b, acfg)
	alice.fill("bob", n)
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		if err := os.CopyFS(filepath.Join(dir, "d"), os.DirFS(cfg.Dir)); err != nil {
			b.Fatal(err)
		}
		c := cfg
		c.Dir = filepath.Join(dir, "d")
		got := 0
		all := make(chan struct{})
		cl, err := client.Open(c, client.Events{NewMessages: func(ms []*im.Message) {
			if got += len(ms); got == n {
				close(all)
			}
		}})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := cl.Login(context.Background()); err != nil {
			b.Fatal(err)
		}
		<-all
		b.StopTimer()
		cl.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/login")
}

// BenchmarkSend is a text to a peer who is away: from the call to its result, one at a time and many at once.
func BenchmarkSend(b *testing.B) {
	for _, window := range []int{1, 64} {
		b.Run(fmt.Sprint("window=", window), func(b *testing.B) {
			s := imtest.Start(b)
			cfg := config(b, s, "bob")
			cfg.Log = nil
			dial(b, cfg).Close()
			cfg = config(b, s, "alice")
			cfg.Log = nil
			alice := dial(b, cfg)
			m := textMessage("the quick brown fox jumps over the lazy dog")
			tokens := make(chan error, window)
			for range window {
				tokens <- nil
			}
			b.ResetTimer()
			for range b.N {
				if err := <-tokens; err != nil {
					b.Fatal(err)
				}
				alice.SendMessageFunc(client.C2C("bob"), m, func(_ *im.Message, err error) { tokens <- err })
			}
			for range window {
				if err := <-tokens; err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
