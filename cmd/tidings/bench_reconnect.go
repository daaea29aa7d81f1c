package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// reconnectResult is the line that a run prints.
type reconnectResult struct {
	Bench   string `json:"bench"`
	Clients int    `json:"clients"`
	// Asked is how many were requested; file limits may allow fewer.
	Asked int `json:"asked"`
	// LoginSeconds is how long the first logins of all clients took, StartSeconds the time from the end of the old server to the port of the new one,
	// AllInSeconds from there until the last client had logged in again, and P50 and P99 the same for one client.
	LoginSeconds float64 `json:"login_s"`
	StartSeconds float64 `json:"start_s"`
	AllInSeconds float64 `json:"all_in_s"`
	P50          float64 `json:"p50_s"`
	P99          float64 `json:"p99_s"`
	Tries        int64   `json:"tries"`
	RSS          float64 `json:"rss_mb"`
	ServerCPU    float64 `json:"server_cpu_s"`
}

func benchReconnect() *cobra.Command {
	clients, within := 20_000, time.Minute
	var dir string
	c := &cobra.Command{
		Use: "reconnect", Short: "How long all clients take to reconnect after a restart of the server", Args: cobra.NoArgs,
		Long: "Log many bare clients in, end the server, start it again, and let all clients reconnect as the SDK does: each tries again after a pause " +
			"drawn evenly below half a second, a second, two and so on up to 30. One line of JSON is printed.",
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := runReconnect(c.Context(), clients, dir)
			if err != nil {
				return err
			}
			printJSON(c.OutOrStdout(), r)
			if r.AllInSeconds > within.Seconds() {
				return fmt.Errorf("bench reconnect: it took more than %v", within)
			}
			return nil
		},
	}
	c.Flags().IntVar(&clients, "clients", clients, "how many clients, if the limit of open files allows")
	c.Flags().DurationVar(&within, "within", within, "fail if it takes longer")
	dirFlag(c, &dir)
	return c
}

func runReconnect(ctx context.Context, clients int, place string) (*reconnectResult, error) {
	cr, err := newCrowd(ctx, "reconnect", clients, place)
	if err != nil {
		return nil, err
	}
	defer cr.end()
	r := &reconnectResult{Bench: "reconnect", Asked: clients, Clients: len(cr.all)}
	begin := time.Now()
	if err := cr.login(ctx); err != nil {
		return nil, err
	}
	r.LoginSeconds = round(time.Since(begin).Seconds(), 2)
	begin = time.Now()
	up, took, err := cr.restart(ctx)
	if err != nil {
		return nil, err
	}
	r.StartSeconds = round(up.Sub(begin).Seconds(), 2)
	slices.Sort(took)
	r.AllInSeconds, r.Tries = round(took[len(took)-1], 2), cr.tries.Load()
	r.P50, r.P99 = round(took[len(took)/2], 2), round(took[len(took)*99/100], 2)
	r.RSS, r.ServerCPU = round(cr.srv.rss(), 1), round(cr.srv.cpu().Seconds(), 2)
	return r, nil
}
