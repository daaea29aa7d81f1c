package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/server"
	"github.com/tidings-im/tidings/usersig"
)

// groupResult is the line that a run prints.
type groupResult struct {
	Bench   string `json:"bench"`
	Members int    `json:"members"`
	Online  int    `json:"online"`
	// Rate is how many messages per second were offered to the group; without, Window is how many were unacknowledged at a time.
	Rate   float64 `json:"rate"`
	Window int     `json:"window"`
	// MsgsPerS are messages of the one sender, Deliveries what all members who are connected received of them. P50 and P99 are how long a message took to a member.
	MsgsPerS   float64 `json:"msgs_per_s"`
	Deliveries float64 `json:"deliveries_per_s"`
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	// CPU of the server for 1,000 messages, each to all members.
	CPUPer1000 float64 `json:"cpu_s_per_1000"`
	RSS        float64 `json:"rss_mb"`
	Lost       int     `json:"lost"`
	Doubled    int     `json:"doubled"`
	OutOfOrder int     `json:"out_of_order"`
	// What messages between two people take while nobody writes to the group, and while somebody does, and the second p99 divided by the first.
	OthersRate     float64 `json:"c2c_rate"`
	OthersAloneP50 float64 `json:"c2c_p50_ms_alone"`
	OthersAlone    float64 `json:"c2c_p99_ms_alone"`
	OthersP50      float64 `json:"c2c_p50_ms"`
	Others         float64 `json:"c2c_p99_ms"`
	OthersRatio    float64 `json:"c2c_p99_ratio"`
	StartMillis    float64 `json:"start_ms"`
	// How is how the process of the members stands back for the server and the pairs: "idle", "low" (in priority) or "as others".
	How string `json:"members_run"`
}

// groupLoad is the load of a run.
type groupLoad struct {
	members, online, pairs int
	rate, others           float64
	room, restart, idle    bool
}

func benchGroup() *cobra.Command {
	var o benchOptions
	var load groupLoad
	c := &cobra.Command{
		Use: "group", Short: "Messages to a large group or a live room, and what they cost others", Args: cobra.NoArgs,
		Long: "Let a member of a large group write to it, and the members who are connected receive it. Pairs of other users write to each other, first " +
			"while the group is silent and then while it is not. Messages are sent at fixed rates, whatever is answered, and how long one takes is counted from when it was due. " +
			"With --rate 0 the group is written to as fast as --window allows. It is an error if a member misses a message, or gets one twice or out of order.\n\n" +
			"With --room, four members of a live room write to it, each with another priority, and all others receive it. There is no group then, and nobody else.\n\n" +
			"The members, who receive, and the one of them who writes, are in a process of their own, because in reality their programs run elsewhere. It uses only what the server " +
			"and the pairs leave of the processors (members_run is \"idle\"), so that how long messages of the pairs take is the server's doing. On a machine that has other things to do, " +
			"use --idle=false, which is a low priority (\"low\"): otherwise members may get nothing.",
		RunE: func(c *cobra.Command, _ []string) error {
			if load.room {
				return benchRoom(c, &o, &load)
			}
			if load.online < 2 || load.members < load.online || load.members > 100_000 || load.pairs < 1 || o.window < 1 || o.size < minText || o.seconds <= 0 ||
				load.rate < 0 || load.others <= 0 || load.restart {
				return fmt.Errorf("bench group: online is 2 to members, members at most 100000, all numbers are positive, size is at least %d, and only a room is restarted", minText)
			}
			if o.withLimit {
				limited := o
				limited.users = 2
				r, err := benchLimit(c.Context(), &limited)
				if err != nil {
					return err
				}
				printResult(c.OutOrStdout(), r, &limited)
			}
			r, err := runGroup(c.Context(), &o, &load)
			if err != nil {
				return err
			}
			printGroup(c.OutOrStdout(), r, o.json)
			if r.Lost+r.Doubled+r.OutOfOrder > 0 {
				return errors.New("bench group: messages were lost, doubled or out of order")
			}
			return nil
		},
	}
	f := c.Flags()
	f.IntVar(&load.members, "members", 10_000, "members of the group; in a room it is how many are connected that counts")
	f.IntVar(&load.online, "online", 500, "how many of them are connected; one of these writes, in a room four")
	f.Float64Var(&load.rate, "rate", 50, "messages per second to the group or room; 0: as many as window allows")
	f.IntVar(&o.window, "window", 1, "without a rate: messages to the group that are unacknowledged at a time")
	f.IntVar(&load.pairs, "pairs", 10, "pairs of other users who write to each other")
	f.Float64Var(&load.others, "c2c-rate", 200, "messages per second of all pairs together")
	f.BoolVar(&load.room, "room", false, "a live room instead of a group")
	f.BoolVar(&load.idle, "idle", true, "members run only while a processor has nothing else to do; not with --room, and only on Linux")
	f.BoolVar(&load.restart, "restart", false, "with --room: kill the server at the end, and measure how long all members take to be back in the room")
	f.IntVar(&o.size, "size", 100, "bytes of text of a message")
	f.Float64Var(&o.seconds, "seconds", 5, "how long to measure, after a warm-up of a second")
	f.BoolVar(&o.withLimit, "with-limit", false, "run the bare relay first, with two users")
	jsonFlag(c, &o.json)
	dirFlag(c, &o.dir)
	o.serverFlags(c)
	return c
}

func printGroup(w io.Writer, r *groupResult, asJSON bool) {
	if asJSON {
		printJSON(w, r)
		return
	}
	load := fmt.Sprintf("rate %.0f", r.Rate)
	if r.Rate == 0 {
		load = fmt.Sprintf("window %d", r.Window)
	}
	fmt.Fprintf(w, "%s %s   %.0f msg/s to %d of %d members, %.0f deliveries/s   p50 %.1f ms   p99 %.1f ms   server CPU %.3f s/1,000   %.0f MB   "+
		"lost %d  doubled %d  out of order %d   others p50 %.1f ms   p99 %.1f ms, %.2f of %.1f ms without; members %s\n",
		r.Bench, load, r.MsgsPerS, r.Online, r.Members, r.Deliveries, r.P50, r.P99, r.CPUPer1000, r.RSS, r.Lost, r.Doubled, r.OutOfOrder, r.OthersP50, r.Others, r.OthersRatio, r.OthersAlone, r.How)
}

const (
	benchKey   = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	benchAdmin = "administrator"
	// benchedID and benchedRoom are the ids of the group and of the live room.
	benchedID   = "@TGS#_bench"
	benchedRoom = "bench-room"
)

// operate makes a call of the admin API.
func operate(ctx context.Context, addr, command string, body any) error {
	sig, err := usersig.Sign(server.DefaultAppID, benchKey, benchAdmin, time.Hour, time.Now())
	if err != nil {
		return err
	}
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	to := fmt.Sprintf("http://%s/v4/%s?sdkappid=%d&identifier=%s&usersig=%s", addr, command, server.DefaultAppID, benchAdmin, url.QueryEscape(sig))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(b))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var reply struct {
		ErrorCode int
		ErrorInfo string
	}
	if err := json.NewDecoder(resp.Body).Decode(&reply); err != nil || reply.ErrorCode != 0 {
		return fmt.Errorf("bench: %s: %d %s: %w", command, reply.ErrorCode, reply.ErrorInfo, err)
	}
	return nil
}

// makeGroup makes a group of so many members, who get accounts.
func makeGroup(ctx context.Context, addr string, members int) error {
	if err := operate(ctx, addr, "group_open_http_svc/create_group", map[string]any{"GroupId": benchedID, "Type": "Community", "Name": "bench"}); err != nil {
		return err
	}
	type member struct{ Member_Account string }
	for from := 0; from < members; from += 100 {
		var names []string
		var rows []member
		for i := from; i < min(from+100, members); i++ {
			names, rows = append(names, memberName(i)), append(rows, member{memberName(i)})
		}
		if err := operate(ctx, addr, "im_open_login_svc/multiaccount_import", map[string]any{"Accounts": names}); err != nil {
			return err
		}
		if err := operate(ctx, addr, "group_open_http_svc/add_group_member", map[string]any{"GroupId": benchedID, "Silence": 1, "MemberList": rows}); err != nil {
			return err
		}
	}
	return nil
}

func memberName(i int) string { return fmt.Sprintf("m%06d", i) }

func dialNamed(addr, name string, groups bool) (*rawLink, error) {
	l, _, err := dialAgain(addr, name, groups, nil)
	return l, err
}

// dialAgain logs a user in; again, if there is the reply to the login before.
func dialAgain(addr, name string, groups bool, before *im.LoginReply) (*rawLink, *im.LoginReply, error) {
	sig, err := usersig.Sign(server.DefaultAppID, benchKey, name, time.Hour, time.Now())
	if err != nil {
		return nil, nil, err
	}
	l, err := dialRaw(addr)
	if err != nil {
		return nil, nil, err
	}
	req := &im.LoginRequest{UserId: name, UserSig: sig, DeviceId: "bench-" + name, Platform: im.Platform_PLATFORM_LINUX, Groups: groups}
	if before != nil {
		req.Resume, req.Generation = true, before.Generation
	}
	reply, err := l.loginAs(req)
	if err != nil {
		l.Close()
	}
	return l, reply, err
}

// serveArgs are the arguments of a server over a folder.
func serveArgs(o *benchOptions) func(addr, dir string) []string {
	return func(addr, dir string) []string {
		return []string{"serve", "--listen", addr, "--data", dir, "--secret-key", benchKey, "--log-level", "error", "--max-connections-per-address", "0", "--postgres", o.postgres}
	}
}

func runGroup(ctx context.Context, o *benchOptions, load *groupLoad) (*groupResult, error) {
	ch, err := startChild(ctx, o, serveArgs(o))
	if err != nil {
		return nil, err
	}
	defer ch.stop()
	if err := makeGroup(ctx, ch.addr, load.members); err != nil {
		return nil, err
	}
	m, err := startMembers(ctx, &memberLoad{Addr: ch.addr, Server: ch.cmd.Process.Pid, Online: load.online, Rate: load.rate, Window: o.window, Size: o.size, Seconds: o.seconds, Idle: load.idle})
	if err != nil {
		return nil, err
	}
	defer m.stop()
	alone, err := others(ctx, ch, o, load)
	if err != nil {
		return nil, err
	}
	if err := m.tell("write", nil); err != nil {
		return nil, err
	}
	during, err := others(ctx, ch, o, load)
	if err != nil {
		return nil, err
	}
	r := &groupResult{}
	if err := m.tell("stop", r); err != nil {
		return nil, err
	}
	r.Bench, r.How, r.Members, r.Online, r.Rate, r.StartMillis = "group", m.how, load.members, load.online, load.rate, round(float64(ch.took.Microseconds())/1000, 1)
	if load.rate == 0 {
		r.Window = o.window
	}
	if o.postgres != "" {
		r.Bench += "-pg"
	}
	r.OthersRate, r.OthersAloneP50, r.OthersAlone, r.OthersP50, r.Others = load.others, alone.P50, alone.P99, during.P50, during.P99
	if alone.P99 > 0 {
		r.OthersRatio = round(during.P99/alone.P99, 2)
	}
	return r, nil
}

// others lets pairs write to each other.
func others(ctx context.Context, ch *child, o *benchOptions, group *groupLoad) (*benchResult, error) {
	links := make([]link, 2*group.pairs)
	for i := range links {
		l, err := dialNamed(ch.addr, fmt.Sprintf("u%04d", i), false)
		if err != nil {
			return nil, err
		}
		l.peer = fmt.Sprintf("u%04d", i^1)
		links[i] = l
	}
	r := &benchResult{}
	err := load(ctx, links, &benchOptions{rate: group.others, size: o.size, seconds: o.seconds}, ch, r)
	if err == nil && r.Lost+r.Doubled+r.OutOfOrder > 0 {
		err = errors.New("bench group: messages of others were lost, doubled or out of order")
	}
	return r, err
}
