package main

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// nicksOf returns the entries about the profile of a friend in the feed of a user: how many, and the nick name of the last one.
func nicksOf(t *testing.T, s *served, user string) (n int, nick string) {
	t.Helper()
	l, err := s.dial(user)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var reply im.FeedReply
	ask(t, l, im.Method_FEED, &im.FeedRequest{From: 1, To: 1 << 40}, &reply)
	for _, x := range reply.Entries {
		if x.Kind == im.RelationKind_RELATION_FRIEND_SELF {
			n, nick = n+1, x.Profile.NickName
		}
	}
	return n, nick
}

// TestKill9Fanout kills a server, again and again, while it tells a change of a profile to all who have the user as a friend: each of them gets each change
// once. A change that comes on the way is told to all in the end.
func TestKill9Fanout(t *testing.T) {
	for _, store := range []string{"sqlite", "postgres"} {
		t.Run(store, func(t *testing.T) {
			s, rounds := &served{t: t, dir: t.TempDir()}, killRounds(5)
			if store == "postgres" {
				s.postgres, rounds = pgtest.DSN(t), killRounds(2) // each waits until the lease of the server that was killed is over
			}
			s.start()
			const fans = 300
			ok := s.operate("im_open_login_svc/account_import", `{"UserID":"star"}`)
			for i := range fans {
				ok = ok && s.operate("im_open_login_svc/account_import", fmt.Sprintf(`{"UserID":"fan%d"}`, i)) &&
					s.operate("sns/friend_add", fmt.Sprintf(`{"From_Account":"fan%d","AddFriendItem":[{"To_Account":"star","AddSource":"AddSource_Type_test"}],"AddType":"Add_Type_Single"}`, i))
			}
			change := func(nick string) bool {
				return s.operate("profile/portrait_set", fmt.Sprintf(`{"From_Account":"star","ProfileItem":[{"Tag":"Tag_Profile_IM_Nick","Value":%q}]}`, nick))
			}
			if !ok {
				t.Fatal("no answer")
			}
			// all waits until all have heard of a nick name, and checks how often they have heard of any.
			all := func(nick string, least, most int) {
				t.Helper()
				end := time.Now().Add(time.Minute)
				for i := range fans {
					for {
						n, now := nicksOf(t, s, fmt.Sprint("fan", i))
						if n >= least && now == nick {
							if n > most {
								t.Fatalf("fan%d has %d entries about %d to %d changes", i, n, least, most)
							}
							break
						}
						if time.Now().After(end) {
							t.Fatalf("fan%d has %d entries, the last with %q, not %q", i, n, now, nick)
						}
						time.Sleep(10 * time.Millisecond)
					}
				}
			}
			cut := 0
			for round := range rounds {
				nick := fmt.Sprint("nick", round)
				if !change(nick) {
					t.Fatal("no answer")
				}
				time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
				s.kill()
				s.start()
				n, _ := nicksOf(t, s, fmt.Sprint("fan", fans-1))
				if n <= round {
					cut++ // it was killed before the end
				}
				all(nick, round+1, round+1)
			}
			t.Logf("killed before the end in %d of %d rounds", cut, rounds)

			// The first of these changes is told to some, the second to all.
			if !change("first") {
				t.Fatal("no answer")
			}
			s.kill()
			s.start()
			if !change("second") {
				t.Fatal("no answer")
			}
			all("second", rounds+1, rounds+2)
		})
	}
}
