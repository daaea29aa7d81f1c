package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// idleResult is the line that a run prints. Memory is the server's resident set, in bytes.
type idleResult struct {
	Bench       string `json:"bench"`
	Connections int    `json:"connections"`
	// RSSEmpty is the memory of the server when it has just started, RSS with all connections, some time after the last login, and PerConnection the
	// difference divided by the connections.
	RSSEmpty      int64 `json:"rss_empty"`
	RSS           int64 `json:"rss"`
	PerConnection int64 `json:"per_connection"`
	// The same after the server was killed and started again, and all clients had reconnected.
	RSSBack           int64 `json:"rss_back"`
	PerConnectionBack int64 `json:"per_connection_back"`
	// Heartbeats that were answered, and what those and the logins took.
	Heartbeats int64   `json:"heartbeats"`
	LoginCPU   float64 `json:"login_cpu_s"`
	ServerCPU  float64 `json:"server_cpu_s"`
}

func benchIdle() *cobra.Command {
	clients, most, settle := 20_000, 8192, time.Minute
	var asJSON bool
	var dir string
	c := &cobra.Command{
		Use: "idle", Short: "Memory of the server per silent logged-in connection", Args: cobra.NoArgs,
		Long: "Log bare clients in, wait, and read the server's resident set; then kill the server, start it again, let all clients reconnect as the SDK " +
			"does, and read it again. The clients send their heartbeats and nothing else. It is an error if one of them is gone at the end, or if a " +
			"connection takes more memory than it may.",
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := runIdle(c.Context(), clients, settle, dir)
			if err != nil {
				return err
			}
			if asJSON {
				printJSON(c.OutOrStdout(), r)
			} else {
				fmt.Fprintf(c.OutOrStdout(), "idle   %d connections   %d bytes each, %d after a restart   empty server %.1f MB, full %.1f and %.1f MB\n",
					r.Connections, r.PerConnection, r.PerConnectionBack, mb(r.RSSEmpty), mb(r.RSS), mb(r.RSSBack))
			}
			if most > 0 && max(r.PerConnection, r.PerConnectionBack) > int64(most) {
				return fmt.Errorf("bench idle: a connection takes more than %d bytes", most)
			}
			return nil
		},
	}
	c.Flags().IntVar(&clients, "clients", clients, "how many clients, if the limit of open files allows")
	c.Flags().DurationVar(&settle, "settle", settle, "how long after the last login memory is read")
	c.Flags().IntVar(&most, "most", most, "fail if a connection takes more bytes; 0: whatever it takes")
	jsonFlag(c, &asJSON)
	dirFlag(c, &dir)
	return c
}

func mb(n int64) float64 { return float64(n) / (1 << 20) }

func runIdle(ctx context.Context, clients int, settle time.Duration, place string) (*idleResult, error) {
	cr, err := newCrowd(ctx, "idle", clients, place)
	if err != nil {
		return nil, err
	}
	defer cr.end()
	r := &idleResult{Bench: "idle", Connections: len(cr.all)}
	r.RSSEmpty = cr.srv.rssBytes()
	if r.RSSEmpty == 0 {
		return nil, errors.New("bench idle: this system does not tell the memory of a process")
	}
	if err := cr.login(ctx); err != nil {
		return nil, err
	}
	r.LoginCPU = round(cr.srv.cpu().Seconds(), 2)
	if r.RSS, r.PerConnection, err = cr.settled(ctx, settle, r.RSSEmpty); err != nil {
		return nil, err
	}
	r.ServerCPU = round(cr.srv.cpu().Seconds(), 2)
	if _, _, err := cr.restart(ctx); err != nil {
		return nil, err
	}
	if r.RSSBack, r.PerConnectionBack, err = cr.settled(ctx, settle, r.RSSEmpty); err != nil {
		return nil, err
	}
	r.Heartbeats = cr.beats.Load()
	return r, nil
}

// settled waits, and reads the server's memory with all connections open.
func (cr *crowd) settled(ctx context.Context, settle time.Duration, empty int64) (rss, each int64, err error) {
	select {
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	case <-time.After(settle):
	}
	// A client that was disconnected reconnects after a pause. The figure is for all of them.
	for limit := time.Now().Add(time.Minute); ; {
		n, err := cr.srv.metric("tidings_connections")
		if err == nil && int(n) != len(cr.all) && time.Now().After(limit) {
			err = fmt.Errorf("bench %s: of %d connections %d are left", cr.name, len(cr.all), int(n))
		}
		if err != nil {
			return 0, 0, err
		}
		if int(n) == len(cr.all) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	rss = cr.srv.rssBytes()
	return rss, (rss - empty) / int64(len(cr.all)), nil
}

// metric reads one figure of the child's /metrics.
func (ch *child) metric(name string) (float64, error) {
	resp, err := http.Get("http://" + ch.addr + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(v), 64)
		}
	}
	return 0, fmt.Errorf("there is no metric %s", name)
}
