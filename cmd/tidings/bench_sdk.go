package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/server"
	"github.com/tidings-im/tidings/usersig"
)

// sdkLink is a user of the load on the Go SDK, with their own database.
type sdkLink struct {
	c    *client.Client
	peer client.Conv
	out  []*im.Message // to be sent by write

	mu    sync.Mutex
	ready sync.Cond
	acks  int
	texts [][]byte
	err   error
}

func dialSDK(ctx context.Context, ch *child, key, name, peer string) (*sdkLink, error) {
	sig, err := usersig.Sign(server.DefaultAppID, key, name, time.Hour, time.Now())
	if err != nil {
		return nil, err
	}
	l := &sdkLink{peer: client.C2C(peer)}
	l.ready.L = &l.mu
	l.c, err = client.Dial(ctx, client.Config{
		Server: "ws://" + ch.addr, UserID: name, UserSig: sig, Dir: filepath.Join(ch.dir, "clients", name),
		Platform: im.Platform_PLATFORM_LINUX, Log: slog.New(slog.DiscardHandler),
	}, client.Events{NewMessages: l.got})
	if err != nil {
		return nil, fmt.Errorf("bench: %s cannot log in: %w", name, err)
	}
	return l, nil
}

func (l *sdkLink) got(ms []*im.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range ms {
		l.texts = append(l.texts, []byte(m.ElemArray[0].GetText().GetContent()))
	}
	l.ready.Signal()
}

func (l *sdkLink) appendSend(b []byte, _ uint64, text []byte) []byte {
	l.out = append(l.out, im.Text(string(text)))
	return b
}

func (l *sdkLink) write([]byte) error {
	for _, m := range l.out {
		if _, err := l.c.SendMessageFunc(l.peer, m, func(_ *im.Message, err error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.acks++
			if err != nil && l.err == nil {
				l.err = err
			}
			l.ready.Signal()
		}); err != nil {
			return err
		}
	}
	l.out = l.out[:0]
	return nil
}

func (l *sdkLink) read(acked func() error, got func([]byte) error) error {
	l.mu.Lock()
	for l.acks == 0 && len(l.texts) == 0 && l.err == nil {
		l.ready.Wait()
	}
	acks, texts, err := l.acks, l.texts, l.err
	l.acks, l.texts = 0, nil
	l.mu.Unlock()
	for range acks {
		acked()
	}
	for _, t := range texts {
		if err == nil {
			err = got(t)
		}
	}
	return err
}

func (l *sdkLink) Close() error {
	l.c.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = net.ErrClosed
	}
	l.ready.Signal()
	return nil
}
