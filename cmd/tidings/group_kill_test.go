package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// groupChanges is a program that keeps what it is notified of about groups: names, and texts of messages. It refuses one notification in fifty.
type groupChanges struct {
	mu    sync.Mutex
	calls int
	seen  map[string]string // what an event was about
	told  map[string][]string
	more  chan struct{}
}

func (p *groupChanges) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var e struct {
		CallbackCommand, GroupId, Name string
		MsgBody                        []struct{ MsgContent struct{ Text string } }
	}
	if json.NewDecoder(r.Body).Decode(&e) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	list, what := "names of "+e.GroupId, e.Name
	switch {
	case e.CallbackCommand == "Group.CallbackAfterSendMsg" && len(e.MsgBody) == 1:
		list, what = "messages of "+e.GroupId, e.MsgBody[0].MsgContent.Text
	case e.CallbackCommand != "Group.CallbackAfterGroupInfoChanged":
		io.WriteString(w, `{"ErrorCode":0}`)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls++; p.calls%50 == 0 {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	id := r.Header.Get("Tidings-Event-Id")
	if was, again := p.seen[id]; again && was == list+what {
		return
	} else if again || id == "" {
		what = fmt.Sprintf("event %q was %q and is %q", id, was, what)
	}
	p.seen[id] = list + what
	p.told[list] = append(p.told[list], what)
	select {
	case p.more <- struct{}{}:
	default:
	}
}

// TestKill9Groups kills a server during changes of groups, messages to them, and their notifications: in the end the program was notified of each change in the
// order of its group, and of each message in the order of the log.
func TestKill9Groups(t *testing.T) {
	t.Parallel() // it waits for a lease
	for _, store := range []string{"sqlite", "postgres"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			p := &groupChanges{seen: map[string]string{}, told: map[string][]string{}, more: make(chan struct{}, 1)}
			hook := httptest.NewServer(p)
			defer hook.Close()
			s := &served{t: t, dir: t.TempDir(), more: []string{"--webhook-url", hook.URL}}
			if store == "postgres" {
				s.postgres = pgtest.DSN(t)
			}
			s.start()
			const groups, rounds, each = 3, 3, 40
			for g := range groups {
				if !s.operate("group_open_http_svc/create_group", fmt.Sprintf(`{"Type":"Public","GroupId":"g%d","Name":"new"}`, g)) {
					t.Fatal("no answer")
				}
			}
			for round := range rounds {
				next := make([]int, 2*groups)
				change := func(i int) bool { // of each group, names and messages
					n, g := round*each+next[i], i/2
					if i%2 == 0 {
						return s.operate("group_open_http_svc/modify_group_base_info", fmt.Sprintf(`{"GroupId":"g%d","Name":"%d"}`, g, n))
					}
					return s.operate("group_open_http_svc/send_group_msg", fmt.Sprintf(`{"GroupId":"g%d","Random":%d,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"%d"}}],
						"ForbidCallbackControl":["ForbidBeforeSendMsgCallback"]}`, g, n+1, n))
				}
				s.killedDuring(next, each, change)
			}
			over := time.After(time.Minute)
			all := func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				n := 0
				for _, list := range p.told {
					n += len(list)
				}
				return n >= 2*groups*rounds*each
			}
			for !all() {
				select {
				case <-p.more:
				case <-over:
					p.mu.Lock()
					t.Fatalf("told of %d events in %d calls", len(p.seen), p.calls)
				}
			}
			s.kill()
			for name, list := range p.told {
				for i, what := range list {
					if what != fmt.Sprint(i) {
						t.Fatalf("%s: told of %s in place of %d; %.200s", name, what, i, strings.Join(list, " "))
					}
				}
			}
			t.Logf("%d events, %d calls", len(p.seen), p.calls)
		})
	}
}
