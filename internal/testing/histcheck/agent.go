package histcheck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// command is what a device is told to do. Messages are passed encoded, so that a device may be another process.
type command struct {
	N     int // number of the answer
	Op    string
	Conv  string
	Text  string
	Users []string
	Msgs  [][]byte
	Call  int // first of the Func calls
	Num   int32
	Flag  bool
	Param []byte
	Open  opening
}

// opening describes which client to open.
type opening struct {
	Run      int
	Server   string
	User     string
	Sig      string
	Dir      string
	Platform im.Platform
	Limits   client.Limits
}

// reply is the answer to a command.
type reply struct {
	N     int
	Code  int32
	Codes []int32
	Msgs  [][]byte
	Convs [][]byte
	Num   int
	// Relations is what a device lists of them.
	Relations *Relations
	// Group is what a device answers about one.
	Group *GroupNow
}

// told is what comes back from a device: callbacks, a complaint, or an answer.
type told struct {
	Records   []Record
	Complaint string
	Reply     *reply
}

// agent runs one client, in the history's process or in one of its own.
type agent struct {
	log  *slog.Logger
	tell func(told) // in order; called by callbacks too

	c     *client.Client
	run   int
	batch int // of callbacks, which come one at a time
	slow  atomic.Int64
	over  atomic.Bool // Close has returned
	late  int

	answers sync.WaitGroup // Func calls that are not answered
}

func encode(m interface{ MarshalVT() ([]byte, error) }) []byte {
	b, err := m.MarshalVT()
	if err != nil {
		return []byte(err.Error())
	}
	return b
}

func decode(b []byte) *im.Message {
	m := &im.Message{}
	if b == nil || m.UnmarshalVT(b) != nil {
		return nil
	}
	return m
}

func encodeAll(ms []*im.Message) [][]byte {
	var out [][]byte
	for _, m := range ms {
		out = append(out, encode(m))
	}
	return out
}

func decodeAll(bs [][]byte) []*im.Message {
	var out []*im.Message
	for _, b := range bs {
		out = append(out, decode(b))
	}
	return out
}

func codeOf(err error) int32 {
	switch code := im.CodeOf(err); {
	case err == nil, code != 0:
		return code
	case errors.Is(err, context.DeadlineExceeded):
		return codePatience
	}
	return codeNone
}

// do carries out a command and returns the reply.
func (a *agent) do(cmd *command) *reply {
	r := &reply{N: cmd.N}
	if cmd.Op == "open" {
		r.Code = codeOf(a.open(&cmd.Open))
		return r
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conv := convOf(cmd.Conv)
	ms := decodeAll(cmd.Msgs)
	var first *im.Message
	if len(ms) > 0 {
		first = ms[0]
	}
	var err error
	switch cmd.Op {
	case "close":
		a.c.Close()
		a.over.Store(true)
		a.answers.Wait() // they come after Close; a process must not end before
	case "status":
		r.Num = int(a.c.Status())
	case "slow":
		a.slow.Store(int64(cmd.Num))
	case "login":
		err = a.c.Login(ctx)
	case "logout":
		err = a.c.Logout(ctx)
	case "send":
		var m *im.Message
		m, err = a.c.SendMessage(ctx, conv, first)
		if m != nil {
			r.Msgs = encodeAll([]*im.Message{m})
		}
	case "burst":
		a.burst(conv, cmd.Call, ms)
	case "batch":
		var results []*im.BatchSendResult
		results, err = a.c.BatchSend(ctx, cmd.Users, first)
		for i, x := range results {
			if x.Identifier != cmd.Users[i] {
				a.tell(told{Complaint: fmt.Sprintf("batch: result %d is of %s, not %s", i, x.Identifier, cmd.Users[i])})
			}
			r.Codes = append(r.Codes, x.Code)
			m := x.Msg
			if m == nil {
				m = &im.Message{}
			}
			r.Msgs = append(r.Msgs, encode(m))
		}
	case "read":
		err = a.c.MarkRead(ctx, conv, first)
	case "readall":
		err = a.c.MarkAllRead(ctx)
	case "revoke":
		err = a.c.Revoke(ctx, conv, first, "")
	case "modify":
		var m *im.Message
		m, err = a.c.ModifyMessage(ctx, conv, first)
		if m != nil {
			r.Msgs = encodeAll([]*im.Message{m})
		}
	case "history":
		p := &im.GetMsgListParam{}
		if err = p.UnmarshalVT(cmd.Param); err == nil {
			ms, err = a.c.Messages(ctx, conv, p)
			r.Msgs = encodeAll(ms)
		}
	case "delete":
		err = a.c.DeleteMessages(ctx, conv, ms)
	case "deletelocal":
		err = a.c.DeleteLocalMessages(ctx, conv, ms)
	case "clear":
		err = a.c.ClearHistory(ctx, conv)
	case "deleteconv":
		err = a.c.DeleteConversation(ctx, conv)
	case "pin":
		err = a.c.PinConversation(ctx, conv, cmd.Flag)
	case "recvopt":
		err = a.c.SetRecvOpt(ctx, []client.Conv{conv}, cmd.Num)
	case "draft":
		var d *im.Draft
		if cmd.Text != "" {
			d = &im.Draft{Msg: textMessage(cmd.Text, ""), UserDefine: cmd.Text}
		}
		err = a.c.SetDraft(conv, d)
	case "save":
		_, err = a.c.SaveMessage(ctx, conv, first)
	case "import":
		err = a.c.ImportMessages(ctx, conv, ms)
	case "conversations":
		var list []*im.ConvInfo
		list, err = a.c.Conversations(ctx)
		for _, x := range list {
			r.Convs = append(r.Convs, encode(x))
		}
	case "total":
		r.Num, err = a.c.TotalUnread(ctx)
	case "told": // returns when everything before it has been reported: answers wait behind events
		done := make(chan struct{})
		a.c.ConversationsFunc(func([]*im.ConvInfo, error) { close(done) })
		select {
		case <-done:
		case <-ctx.Done():
			err = ctx.Err()
		}
	default:
		if strings.HasPrefix(cmd.Op, groupOp) {
			err = a.group(ctx, cmd, r)
		} else {
			err = a.relate(ctx, cmd, r)
		}
	}
	r.Code = codeOf(err)
	return r
}

func (a *agent) open(o *opening) error {
	a.run = o.Run
	c, err := client.Open(client.Config{Server: o.Server, UserID: o.User, UserSig: o.Sig, Dir: o.Dir, Platform: o.Platform, Limits: o.Limits, Log: a.log}, client.Each(func(e client.Event) { a.event(records(e)...) }))
	a.c = c
	return err
}

// burst sends without waiting; the answers arrive among the callbacks.
func (a *agent) burst(conv client.Conv, call int, ms []*im.Message) {
	for i, m := range ms {
		n, tag := call+i, m.CloudCustomStr
		id := make(chan string, 1)
		a.answers.Add(1)
		var once sync.Once
		got, _ := a.c.SendMessageFunc(conv, m, func(m *im.Message, err error) {
			want := <-id
			r := Record{Kind: Answer, Call: n, Op: "sendfunc", Conv: conv.ID, Tag: tag, Code: codeOf(err), ID: want}
			if m != nil {
				r.Seq, r.Version, r.Text, r.Msg = m.Seq, m.Version, text(m), encode(m)
				if want != "" && m.MsgId != want {
					a.tell(told{Complaint: fmt.Sprintf("%s has the id %s and was answered with %s", tag, want, m.MsgId)})
				}
			}
			a.callback(r)
			once.Do(a.answers.Done)
		})
		id <- got
		close(id)
	}
}

// callback records a callback as it begins, and lets it take some time.
func (a *agent) callback(rs ...Record) {
	a.batch++
	for i := range rs {
		rs[i].Run, rs[i].Batch = a.run, a.batch
	}
	a.tell(told{Records: rs})
	if a.slow.Load() > 0 {
		a.slow.Add(-1)
		time.Sleep(5 * time.Millisecond) // a slow application
	}
}

// event is callback for what must not begin after Close. One may have been about to begin when Close returned.
func (a *agent) event(rs ...Record) {
	if a.over.Load() {
		if a.late++; a.late > 1 {
			a.tell(told{Complaint: fmt.Sprintf("run %d: %d callbacks after Close, the last: %v", a.run, a.late, rs)})
		}
	}
	a.callback(rs...)
}

// records are what the history has of an event, by its name, or its type if it has one: one record for each thing that it tells of.
func records(e client.Event) (rs []Record) {
	if rs, ok := relationRecords(e); ok {
		return rs
	}
	if rs, ok := groupRecords(e); ok {
		return rs
	}
	kind := cmp.Or(e.Type, e.Name)
	if len(e.Args) == 0 {
		return []Record{{Kind: kind}}
	}
	switch told := e.Args[0].(type) {
	case []*im.Message:
		for _, m := range told {
			rs = append(rs, Record{Kind: kind, Conv: m.ConvId, Seq: m.Seq, Version: m.Version, Text: words(m), Tag: m.CloudCustomStr, From: m.Sender, ID: m.MsgId, Self: m.IsFromSelf,
				Online: m.IsOnlineMsg, N: int(m.Status), Time: m.ServerTime, Msg: encode(m)})
		}
	case []*im.MsgLocator:
		for _, l := range told {
			rs = append(rs, Record{Kind: kind, Conv: l.ConvId, Seq: l.Seq, From: l.RevokerUserId, Self: l.IsSelf, Time: l.Time})
		}
	case []*im.MessageReceipt:
		for _, x := range told {
			rs = append(rs, Record{Kind: kind, Conv: x.ConvId, Time: x.TimeStamp})
		}
	case []*im.ConvInfo:
		for _, x := range told {
			rs = append(rs, Record{Kind: kind, Conv: x.Id, N: int(x.UnreadNum), Text: text(x.LastMsg), Seq: x.LastMsg.GetSeq(), Info: string(encode(x))})
		}
		if len(told) == 0 { // the sync of a login
			rs = append(rs, Record{Kind: kind})
		}
	case int:
		rs = append(rs, Record{Kind: kind, N: told})
	case client.NetworkStatus:
		rs = append(rs, Record{Kind: kind, N: int(told), Code: e.Args[1].(int32)})
	default:
		rs = append(rs, Record{Kind: kind, Text: e.Data()})
	}
	return rs
}

func textMessage(s, tag string) *im.Message {
	return &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_TEXT, Body: &im.Elem_Text{Text: &im.TextElem{Content: s}}}}, CloudCustomStr: tag}
}

func text(m *im.Message) string {
	for _, e := range m.GetElemArray() {
		if t := e.GetText(); t != nil {
			return t.Content
		}
	}
	return ""
}

// driver carries commands to an agent.
type driver interface {
	// do returns nil if the agent was killed in the meantime.
	do(*command) *reply
	// end waits for an agent whose client was closed.
	end()
	// kill ends the agent's process, if it has one of its own, and reports whether it did.
	kill() bool
}

// inside is a driver of an agent in this process.
type inside struct{ agent }

func (x *inside) do(cmd *command) *reply { return x.agent.do(cmd) }
func (x *inside) end()                   {}
func (x *inside) kill() bool             { return false }

// pending is what waits for answers.
type pending struct {
	mu   sync.Mutex
	next int
	open map[int]chan *reply
	dead bool
}

func (p *pending) add() (int, chan *reply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	ch := make(chan *reply, 1)
	if p.dead {
		close(ch)
		return p.next, ch
	}
	if p.open == nil {
		p.open = map[int]chan *reply{}
	}
	p.open[p.next] = ch
	return p.next, ch
}

func (p *pending) answer(r *reply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ch := p.open[r.N]; ch != nil {
		ch <- r
		delete(p.open, r.N)
	}
}

func (p *pending) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = true
	for _, ch := range p.open {
		close(ch)
	}
	p.open = nil
}

func last[T any](s []T) (v T) {
	if len(s) > 0 {
		v = s[len(s)-1]
	}
	return v
}

func count(rs []Record, kind string) int {
	n := 0
	for i := range rs {
		if rs[i].Kind == kind {
			n++
		}
	}
	return n
}

// pickLate picks one of the last n of a list; the zero value if it is empty.
func pickLate[T any](s []T, n int, pick uint64) (v T) {
	if len(s) == 0 {
		return v
	}
	s = s[max(0, len(s)-n):]
	return s[pick%uint64(len(s))]
}

// replace puts a newer state of a message in the place of an older one.
func replace(s []*im.Message, m *im.Message) {
	for i, x := range slices.Backward(s) {
		if x.Seq == m.Seq && x.ConvId == m.ConvId {
			s[i] = m
			return
		}
	}
}
