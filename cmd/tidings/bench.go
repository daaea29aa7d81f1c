package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func init() { commands = append(commands, benchCommand) }

// benchOptions are the options of a run.
type benchOptions struct {
	users, window, size int
	seconds             float64
	// rate is how many messages per second all users together send, whatever is answered; 0: as many as window allows.
	rate           float64
	json           bool
	sdk, withLimit bool
	dir            string
	profile        string
	postgres       string
}

// benchResult is the line that a run prints.
type benchResult struct {
	Bench       string  `json:"bench"`
	Window      int     `json:"window"`
	MsgsPerS    float64 `json:"msgs_per_s"`
	P50         float64 `json:"p50_ms"`
	P99         float64 `json:"p99_ms"`
	CPUPer1000  float64 `json:"cpu_s_per_1000"`
	RSS         float64 `json:"rss_mb"`
	Lost        int     `json:"lost"`
	Doubled     int     `json:"doubled"`
	OutOfOrder  int     `json:"out_of_order"`
	RatioTo     string  `json:"ratio_to,omitempty"`
	Ratio       float64 `json:"ratio,omitempty"`
	ClientCPU   float64 `json:"client_cpu_s_per_1000"`
	StartMillis float64 `json:"start_ms"`
}

func jsonFlag(c *cobra.Command, asJSON *bool) { c.Flags().BoolVar(asJSON, "json", false, "print JSON") }

func dirFlag(c *cobra.Command, dir *string) {
	c.Flags().StringVar(dir, "dir", "", "where the temporary data folder is made (default: the system's)")
}

// serverFlags are those of benches whose server may have another store, and a profile.
func (o *benchOptions) serverFlags(c *cobra.Command) {
	c.Flags().StringVar(&o.postgres, "postgres", "", "a server over this PostgreSQL database, whose own CPU time is not counted")
	c.Flags().StringVar(&o.profile, "profile", "", "write a CPU profile of the server to this file")
}

// printJSON prints the result of a run, which is a struct of numbers and texts, as one line.
func printJSON(w io.Writer, r any) {
	b, _ := json.Marshal(r)
	fmt.Fprintf(w, "%s\n", b)
}

func benchCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure a server on this machine",
		Long: "Measure a server on this machine. The server is a process of its own with a temporary data folder, so that CPU time and memory " +
			"are the server's; the load comes from this process and shares the machine with it. One line is printed a run.",
		Args: cobra.NoArgs,
	}
	var o benchOptions
	flags := func(c *cobra.Command) *cobra.Command {
		f := c.Flags()
		f.IntVar(&o.users, "users", 200, "users, in pairs that send to each other")
		f.IntVar(&o.window, "window", 1, "messages that a sender keeps unacknowledged")
		f.IntVar(&o.size, "size", 100, "bytes of text of a message")
		f.Float64Var(&o.seconds, "seconds", 5, "how long to measure, after a warm-up of a second")
		jsonFlag(c, &o.json)
		dirFlag(c, &o.dir)
		return c
	}
	c2c := flags(&cobra.Command{
		Use: "c2c", Short: "Messages between two people", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return bench(c, &o)
		},
	})
	c2c.Flags().BoolVar(&o.sdk, "sdk", false, "clients on the Go SDK, with their databases, instead of bare connections")
	c2c.Flags().BoolVar(&o.withLimit, "with-limit", false, "run the bare relay first, and print the ratio to it")
	o.serverFlags(c2c)
	c.AddCommand(c2c)
	c.AddCommand(flags(&cobra.Command{
		Use: "limit", Short: "The machine's own limit: a bare relay that appends, syncs and forwards", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := benchLimit(c.Context(), &o)
			if err == nil {
				printResult(c.OutOrStdout(), r, &o)
			}
			return err
		},
	}))
	for _, name := range []string{"sync", "cold"} {
		c.AddCommand(&cobra.Command{
			Use: name, Short: "Not built yet", Hidden: true,
			RunE: func(*cobra.Command, []string) error { return fmt.Errorf("bench %s: not built yet", name) },
		})
	}
	c.AddCommand(benchRelations())
	c.AddCommand(benchGroup())
	c.AddCommand(benchMedia())
	c.AddCommand(benchReconnect())
	c.AddCommand(benchIdle())
	c.AddCommand(relayCommand())
	c.AddCommand(membersCommand())
	return c
}

func bench(c *cobra.Command, o *benchOptions) error {
	if o.users < 2 || o.users%2 != 0 || o.window < 1 || o.size < minText || o.seconds <= 0 {
		return fmt.Errorf("bench: users come in pairs, window and seconds are positive, size is at least %d", minText)
	}
	var limit *benchResult
	if o.withLimit {
		var err error
		if limit, err = benchLimit(c.Context(), o); err != nil {
			return err
		}
		printResult(c.OutOrStdout(), limit, o)
	}
	r, err := benchC2C(c.Context(), o)
	if err != nil {
		return err
	}
	if limit != nil {
		r.RatioTo, r.Ratio = "limit", round(r.MsgsPerS/limit.MsgsPerS, 3)
	}
	printResult(c.OutOrStdout(), r, o)
	if r.Lost+r.Doubled+r.OutOfOrder > 0 {
		return errors.New("bench: messages were lost, doubled or out of order")
	}
	return nil
}

func printResult(w io.Writer, r *benchResult, o *benchOptions) {
	if o.json {
		printJSON(w, r)
		return
	}
	fmt.Fprintf(w, "%-6s window %-3d %9.0f msg/s   p50 %.1f ms   p99 %.1f ms   server CPU %.4f s/1,000   %.0f MB   lost %d  doubled %d  out of order %d",
		r.Bench, r.Window, r.MsgsPerS, r.P50, r.P99, r.CPUPer1000, r.RSS, r.Lost, r.Doubled, r.OutOfOrder)
	if r.RatioTo != "" {
		fmt.Fprintf(w, "   %.2f of %s", r.Ratio, r.RatioTo)
	}
	fmt.Fprintln(w)
}

// child is a server process under measurement.
type child struct {
	cmd  *exec.Cmd
	addr string
	dir  string
	took time.Duration
}

// startChild runs this program with args and an address to listen on, and waits until it listens.
func startChild(ctx context.Context, o *benchOptions, args func(addr, dir string) []string) (*child, error) {
	dir, err := os.MkdirTemp(o.dir, "tidings-bench-*")
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	var env []string
	if o.profile != "" {
		env = append(env, "TIDINGS_CPU_PROFILE="+o.profile)
	}
	return startAt(ctx, addr, dir, args(addr, dir), env)
}

// freeAddr returns an address that nobody listens on.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// startAt runs this program with args, and waits until it listens on addr. dir is removed when it is stopped.
func startAt(ctx context.Context, addr, dir string, args, env []string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ch := &child{addr: addr, dir: dir}
	ch.cmd = exec.CommandContext(ctx, self, args...)
	ch.cmd.Stderr = os.Stderr
	ch.cmd.Env = append(os.Environ(), env...)
	start := time.Now()
	if err := ch.cmd.Start(); err != nil {
		return nil, err
	}
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			ch.took = time.Since(start)
			return ch, nil
		}
		if time.Since(start) > 20*time.Second {
			ch.stop()
			return nil, fmt.Errorf("bench: the server does not listen: %w", err)
		}
		time.Sleep(time.Millisecond)
	}
}

func (ch *child) stop() {
	ch.cmd.Process.Signal(syscall.SIGTERM)
	ch.cmd.Wait()
	os.RemoveAll(ch.dir)
}

// cpu returns the processor time that the child has used, if the system has /proc.
func (ch *child) cpu() time.Duration { return cpuOf(ch.cmd.Process.Pid) }

func cpuOf(pid int) time.Duration {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	// The name, in parentheses, may have spaces; utime and stime are the 12th and 13th fields after it.
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	const ticks = 100 // per second, on every Linux
	return time.Duration(user+system) * (time.Second / ticks)
}

// rss returns the child's memory in megabytes.
func (ch *child) rss() float64 { return mb(ch.rssBytes()) }

// rssBytes returns the child's resident set, if the system has /proc.
func (ch *child) rssBytes() int64 { return rssOf(ch.cmd.Process.Pid) }

func rssOf(pid int) int64 {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	kb, _ := strconv.ParseInt(strings.Fields(rest + " 0")[0], 10, 64)
	return kb << 10
}
