package client_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/faultproxy"
)

// related is what a device shows of relations, in one text.
func (d *device) related() string {
	d.t.Helper()
	friends, err := d.Friends().List(within(d.t))
	blocked, err2 := d.Friends().Blacklist(within(d.t))
	groups, err3 := d.Friends().Groups(within(d.t), nil)
	self, err4 := d.Profiles().Get(within(d.t), []string{d.UserID()}, false)
	for _, err := range []error{err, err2, err3, err4} {
		if err != nil {
			d.t.Fatal(err)
		}
	}
	return im.ListToJSON(friends) + im.ListToJSON(blocked) + im.ListToJSON(groups) + im.ListToJSON(self)
}

// noise changes something of a device's user that nobody sees in the end, often enough that the server cuts a feed off.
func (d *device) noise() {
	d.t.Helper()
	for range 6 {
		r, err := d.Friends().Add(within(d.t), &im.AddFriendRequest{UserId: "cid"})
		result(d.t, r, err, 0)
		rs, err := d.Friends().Delete(within(d.t), []string{"cid"}, false)
		results(d.t, rs, err, 0)
	}
}

// A device that is away, that reconnects, or whose feed was cut off meanwhile hears of every cause what one that is online does, once, and has the same
// in the end.
func TestRelationEventsMissed(t *testing.T) {
	const keep = 4
	for _, way := range []string{"away", "reconnecting", "cut off"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			s := imtest.Start(t)
			if way == "cut off" {
				s.Restart(imtest.FeedKeep(keep))
			}
			dial(t, config(t, s, "cid"))
			ann, bob := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob"))
			var links []*faultproxy.Proxy
			watchers := []*device{nil, nil}
			for i, user := range []string{"ann", "bob"} {
				p, url := newProxy(t, s.URL)
				cfg := phone(t, s, user)
				cfg.Server, cfg.Limits.Reconnect = url, 20*time.Millisecond
				links = append(links, p)
				watchers[i] = dial(t, cfg)
			}
			for _, c := range causes {
				for i, d := range watchers {
					if way == "reconnecting" {
						links[i].Refuse(true)
						links[i].Cut()
						d.until(t, "the cut", func([]event) bool { e, _ := last(d.of("net"), "net"); return e.n != int(client.NetworkConnected) })
					} else {
						d.Close()
					}
				}
				if way == "cut off" {
					ann.noise()
					bob.noise()
				}
				heard := []int{len(watchers[0].heard()), len(watchers[1].heard())}
				c.do(t, ann, bob)
				for i, d := range watchers {
					want := slices.Clone([][]string{c.mine, c.other}[i])
					if way == "reconnecting" {
						links[i].Refuse(false)
						d.until(t, "the connection", func([]event) bool { e, _ := last(d.of("net"), "net"); return e.n == int(client.NetworkConnected) })
						d.related() // which waits for the sync
					} else {
						d, heard[i] = dial(t, d.cfg), 0
						watchers[i] = d
					}
					d.until(t, fmt.Sprintf("%s: %q", c.name, want), func([]event) bool { return len(d.heard()) >= heard[i]+len(want) })
					d.settled()
					got := short(d.heard()[heard[i]:])
					if way == "cut off" { // the difference has an order of its own
						slices.Sort(got)
						slices.Sort(want)
					}
					if !slices.Equal(got, append([]string{}, want...)) {
						t.Fatalf("%s: the device of %s heard\n%q, want\n%q", c.name, d.UserID(), got, want)
					}
					if here, there := []*device{ann, bob}[i].related(), d.related(); here != there {
						t.Fatalf("%s: the device of %s has\n%s, the other one\n%s", c.name, d.UserID(), there, here)
					}
				}
			}
		})
	}
}
