package imtest

import (
	"context"
	"log/slog"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// Dial logs a user in on a device of its own, which is closed when the test ends. ev may be empty.
func (s *Server) Dial(user string, ev client.Events) *client.Client {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, client.Config{Server: s.URL, UserID: user, UserSig: s.Sig(user), Dir: s.t.TempDir(), Platform: im.Platform_PLATFORM_LINUX,
		Log: slog.New(slog.NewTextHandler(s.t.Output(), nil))}, ev)
	if err != nil {
		s.t.Fatalf("imtest: %s cannot log in: %v", user, err)
	}
	s.t.Cleanup(c.Close)
	return c
}
