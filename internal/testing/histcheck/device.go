package histcheck

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/testing/faultproxy"
)

// device is a Device while the history is made. The fields below queue belong to the goroutine that works it off, and after the operations to the
// runner.
type device struct {
	*Device
	r        *runner
	proxy    *faultproxy.Proxy
	dir      string
	platform im.Platform
	child    bool // runs in a process of its own
	process  atomic.Pointer[process]
	queue    chan func()
	done     chan struct{}

	drv  driver // nil: not open
	run  int
	call int

	seen sync.Mutex
	got  []*im.Message // messages of others, and of my other devices
	mine []*im.Message // acknowledged sends

	outstanding map[int]*Send // Func calls that are not answered, guarded by Device.mu
}

// do queues an operation; a device that is away or logged out comes back instead of every other one.
func (d *device) do(f func()) {
	d.must(func() {
		switch {
		case d.drv == nil:
			d.open()
			d.login()
		case d.run%2 == 0 && d.status() == client.LoggedOut:
			d.login()
		}
		f()
	})
}

func (d *device) must(f func()) {
	select {
	case d.queue <- f:
	default:
		d.proxy.Heal() // otherwise nothing else would happen while each of its calls times out
		d.queue <- f
	}
}

// tell passes a command to the client; it returns nil if there is none, or if it was killed in the meantime.
func (d *device) tell(cmd *command) *reply {
	if d.drv == nil {
		return nil
	}
	r := d.drv.do(cmd)
	if r == nil {
		d.drv = nil
	}
	return r
}

func (d *device) open() {
	if d.drv != nil {
		return
	}
	d.run++
	d.add(d.r.h, Record{Run: d.run, Kind: Opened})
	run := d.run
	hear := func(t told) { d.hear(run, t) }
	if d.child {
		logFile := ""
		if d.r.cfg.LogDir != "" {
			logFile = filepath.Join(d.r.cfg.LogDir, fmt.Sprintf("seed%d-%s.log", d.r.cfg.Seed, d.Name))
		}
		p, err := startProcess(logFile, hear, func() { d.died(run) })
		if err != nil {
			d.r.h.violation("%s: cannot start a process: %v", d.Name, err)
			return
		}
		d.process.Store(p)
		d.drv = p
	} else {
		d.drv = &inside{agent{log: d.r.cfg.Log.With("device", d.Name), tell: hear}}
	}
	r := d.tell(&command{Op: "open", Open: opening{Run: run, Server: d.proxy.URL, User: d.User, Sig: d.r.sigs[d.User], Dir: d.dir, Platform: d.platform, Limits: limits}})
	if r != nil && r.Code != 0 {
		d.r.h.violation("%s: open: %d", d.Name, r.Code)
		d.drv.end()
		d.drv = nil
	}
}

func (d *device) close() {
	if d.drv == nil {
		return
	}
	d.add(d.r.h, Record{Run: d.run, Kind: Closing})
	drv := d.drv
	if d.tell(&command{Op: "close"}) == nil {
		return
	}
	drv.end()
	d.add(d.r.h, Record{Run: d.run, Kind: Closed})
	d.drv = nil
}

// kill kills the device's process, if one is running. It may be called at any time.
func (d *device) kill() bool {
	p := d.process.Load()
	return p != nil && p.kill()
}

// died records the end of a process that was killed, after everything that it reported.
func (d *device) died(run int) {
	d.mu.Lock()
	for n, s := range d.outstanding {
		if s.Run == run {
			s.Code = codeKilled
			delete(d.outstanding, n)
		}
	}
	d.mu.Unlock()
	d.add(d.r.h, Record{Run: run, Kind: Died})
}

// hear records what a client reports.
func (d *device) hear(run int, t told) {
	if t.Complaint != "" {
		d.r.h.violation("%s run %d: %s", d.Name, run, t.Complaint)
	}
	ms := make([]*im.Message, len(t.Records))
	for i := range t.Records {
		ms[i] = decode(t.Records[i].Msg)
		t.Records[i].Msg = nil
	}
	d.add(d.r.h, t.Records...) // before anybody can use what it reports
	for i := range t.Records {
		x, m := &t.Records[i], ms[i]
		switch x.Kind {
		case New, Updated:
			d.r.h.met(d.User, m)
			d.seen.Lock()
			if x.Kind == New && m.Seq != 0 {
				d.got = append(d.got, m)
			} else {
				replace(d.got, m)
				replace(d.mine, m)
			}
			d.seen.Unlock()
		case Answer:
			d.mu.Lock()
			s := d.outstanding[x.Call]
			delete(d.outstanding, x.Call)
			d.mu.Unlock()
			if s != nil {
				d.answered(s, m, x.Code)
			}
		}
	}
}

// blocking makes a call that blocks, and records it.
func (d *device) blocking(rec Record, cmd *command) *reply {
	if d.drv == nil {
		return nil
	}
	d.call++
	cmd.Op = cmp.Or(cmd.Op, rec.Op)
	rec.Run, rec.Kind, rec.Call = d.run, Calling, d.call
	d.add(d.r.h, rec)
	r := d.tell(cmd)
	rec.Kind = Returned
	switch {
	case r == nil:
		rec.Code = codeKilled
	case r.Code == codePatience:
		d.r.h.violation("%s: call %d, %s, was not answered", d.Name, rec.Call, rec.Op)
	}
	if r != nil {
		rec.Code = r.Code
		if m := decode(last(r.Msgs)); m != nil && rec.Op == "modify" {
			rec.Version, rec.ID = m.Version, text(m)
		}
		if strings.HasPrefix(rec.Op, relationOp) || strings.HasPrefix(rec.Op, groupOp) {
			rec.N = r.Num
		}
		if rec.Op == "history" {
			for _, b := range r.Msgs {
				rec.Seqs = append(rec.Seqs, decode(b).Seq)
			}
		}
	}
	d.add(d.r.h, rec)
	return r
}

func (d *device) login() int32 {
	if r := d.blocking(Record{Op: "login"}, &command{}); r != nil {
		return r.Code
	}
	return codeKilled
}

func (d *device) logout() { d.blocking(Record{Op: "logout"}, &command{}) }

func (d *device) status() client.LoginStatus {
	if r := d.tell(&command{Op: "status"}); r != nil {
		return client.LoginStatus(r.Num)
	}
	return client.LoggedOut
}

// newSend records a message before it is sent.
func (d *device) newSend(to, tag string, v Verdict) *Send {
	s := &Send{Device: d.Device, User: d.User, Run: d.run, Conv: to, Tag: tag, Verdict: v, At: d.r.h.clock.Add(1), Code: codeKilled}
	d.mu.Lock()
	d.Sends = append(d.Sends, s)
	d.mu.Unlock()
	return s
}

func (d *device) newTag(v Verdict) string {
	return fmt.Sprintf("%s/%d%s", d.Name, d.r.texts.Add(1), v)
}

func (d *device) answered(s *Send, m *im.Message, code int32) {
	d.mu.Lock()
	s.Answers++
	s.Code = code
	if m != nil && m.MsgId != "" {
		if s.ID != "" && m.MsgId != s.ID {
			d.r.h.violation("%s: %s has the id %s and was answered with %s", d.Name, s.Tag, s.ID, m.MsgId)
		}
		s.ID, s.Seq = m.MsgId, m.Seq
	}
	d.mu.Unlock()
	if code == 0 && m != nil && m.Seq != 0 {
		d.r.h.met(d.User, m)
		d.seen.Lock()
		d.mine = append(d.mine, m)
		d.seen.Unlock()
	}
}

func (d *device) send(to string, v Verdict, b uint64) int32 {
	if d.drv == nil {
		return codeKilled
	}
	tag := d.newTag(v)
	s := d.newSend(to, tag, v)
	m := textMessage(tag, tag)
	if s.Uncounted = b>>32%8 == 1; s.Uncounted {
		m.IsExcludedFromUnreadCount = true
	}
	return d.sendOne(s, m)
}

func (d *device) sendOnline(to string) {
	if d.drv == nil {
		return
	}
	tag := d.newTag(Pass)
	s := d.newSend(to, tag, Pass)
	s.Online = true
	m := textMessage(tag, tag)
	m.IsOnlineMsg = true
	d.sendOne(s, m)
}

func (d *device) sendOne(s *Send, m *im.Message) int32 {
	s.Call = d.call + 1
	r := d.blocking(Record{Op: "send", Conv: s.Conv, Tag: s.Tag}, &command{Conv: s.Conv, Msgs: encodeAll([]*im.Message{m})})
	if r == nil {
		return codeKilled
	}
	d.answered(s, decode(last(r.Msgs)), r.Code)
	return r.Code
}

func (d *device) burst(to string, n int, b uint64) {
	if d.drv == nil {
		return
	}
	first := d.call + 1
	var ms []*im.Message
	for i := range n {
		v := Pass
		if i == n/2 {
			v = d.r.newMark(b)
		}
		tag := d.newTag(v)
		s := d.newSend(to, tag, v)
		d.call++
		s.Call, s.Func = d.call, true
		d.mu.Lock()
		d.outstanding[d.call] = s
		d.mu.Unlock()
		m := textMessage(tag, tag)
		if s.Uncounted = b>>32%8 == 1 && i%2 == 0; s.Uncounted {
			m.IsExcludedFromUnreadCount = true
		}
		ms = append(ms, m)
		d.add(d.r.h, Record{Run: d.run, Kind: Calling, Call: s.Call, Op: "sendfunc", Conv: to, Tag: tag})
	}
	if d.tell(&command{Op: "burst", Conv: to, Call: first, Msgs: encodeAll(ms)}) != nil {
		return
	}
	d.mu.Lock() // it was killed, perhaps before they were recorded
	var rs []Record
	for n := first; n <= d.call; n++ {
		delete(d.outstanding, n)
		rs = append(rs, Record{Run: d.run, Kind: Returned, Call: n, Op: "sendfunc", Conv: to, Code: codeKilled})
	}
	d.mu.Unlock()
	d.add(d.r.h, rs...)
}

// batch sends one message to several users.
func (d *device) batch(b uint64) {
	if d.drv == nil {
		return
	}
	var users []string
	for i, u := range d.r.h.Users {
		if i == 0 || b>>i&1 == 1 {
			users = append(users, u)
		}
	}
	v := d.r.newMark(b)
	tag := d.newTag(v)
	var sends []*Send
	for _, u := range users {
		s := d.newSend(u, tag, v)
		s.Call = d.call + 1
		sends = append(sends, s)
	}
	r := d.blocking(Record{Op: "batch", Tag: tag}, &command{Users: users, Msgs: encodeAll([]*im.Message{textMessage(tag, tag)})})
	if r == nil {
		return
	}
	for i, s := range sends {
		switch {
		case r.Code != 0: // none was sent
			d.answered(s, nil, r.Code)
		case i < len(r.Codes):
			d.answered(s, decode(r.Msgs[i]), r.Codes[i])
		}
	}
}

func (d *device) read(conv string, upTo *im.Message) {
	cmd := &command{Conv: conv}
	rec := Record{Op: "read", Conv: conv}
	if upTo != nil {
		rec.Seq = upTo.Seq
		cmd.Msgs = encodeAll([]*im.Message{upTo})
	}
	d.blocking(rec, cmd)
}

// known picks a message that this device has seen lately: from others and from its other devices, or its own.
func (d *device) known(mine bool, pick uint64) *im.Message {
	d.seen.Lock()
	defer d.seen.Unlock()
	if mine {
		return pickLate(d.mine, 20, pick)
	}
	return pickLate(d.got, 20, pick)
}

func (d *device) readUpTo(pick uint64) {
	if m := d.known(false, pick); m != nil {
		d.read(m.ConvId, m)
	}
}

func (d *device) readAll() { d.blocking(Record{Op: "readall"}, &command{}) }

func (d *device) revoke(pick uint64) {
	if m := d.known(true, pick); m != nil {
		d.blocking(Record{Op: "revoke", Conv: m.ConvId, Seq: m.Seq}, &command{Conv: m.ConvId, Msgs: encodeAll([]*im.Message{m})})
	}
}

// modify replaces the content of a message; sometimes with a version that it does not have.
func (d *device) modify(pick uint64) {
	m := d.known(pick>>32%2 == 0, pick)
	if m == nil {
		return
	}
	d.modifyTo(m, pick>>36%16 == 0, d.r.newMark(pick))
}

func (d *device) modifyTo(m *im.Message, wrong bool, v Verdict) (string, int32) {
	now := d.r.newText(m) + string(v)
	n := decode(encode(m))
	n.ElemArray = textMessage(now, "").ElemArray
	if wrong {
		n.Version += 3
	}
	r := d.blocking(Record{Op: "modify", Conv: m.ConvId, Seq: m.Seq, N: int(n.Version), Text: now, Tag: m.CloudCustomStr}, &command{Conv: m.ConvId, Msgs: encodeAll([]*im.Message{n})})
	if r == nil {
		return now, codeKilled
	}
	if newest := decode(last(r.Msgs)); newest != nil {
		d.seen.Lock()
		replace(d.got, newest)
		replace(d.mine, newest)
		d.seen.Unlock()
	}
	return now, r.Code
}

// page lists some of a conversation; what it fetches is stored silently.
func (d *device) page(conv string, b uint64) {
	p := &im.GetMsgListParam{Count: uint32(1 + b%300), IsForward: b&(1<<20) != 0}
	if b&(1<<21) != 0 {
		p.LastMsgSeq = 1 + b>>32%200
	}
	d.blocking(Record{Op: "history", Conv: conv, Seq: p.LastMsgSeq, Self: p.IsForward}, &command{Conv: conv, Param: encode(p)})
}

// delete deletes some messages of a conversation.
func (d *device) delete(op string, pick uint64) {
	m := d.known(pick>>32%3 == 0, pick)
	if m == nil {
		return
	}
	ms := []*im.Message{m}
	d.seen.Lock()
	for _, x := range slices.Backward(d.got) {
		if len(ms) < 1+int(pick>>36%4) && x.ConvId == m.ConvId && x.Seq != m.Seq {
			ms = append(ms, x)
		}
	}
	d.seen.Unlock()
	rec := Record{Op: op, Conv: m.ConvId}
	for _, x := range ms {
		rec.Seqs = append(rec.Seqs, x.Seq)
	}
	d.blocking(rec, &command{Conv: m.ConvId, Msgs: encodeAll(ms)})
}

// simple is a call about a conversation without further parameters.
func (d *device) simple(op, conv string) {
	d.blocking(Record{Op: op, Conv: conv}, &command{Conv: conv})
}

// set sets a number of a conversation.
func (d *device) set(op, conv string, n int) {
	d.blocking(Record{Op: op, Conv: conv, N: n}, &command{Conv: conv, Num: int32(n), Flag: n == 1})
}

func (d *device) draft(conv string, none bool) {
	s := ""
	if !none {
		s = d.newTag(Pass)
	}
	d.blocking(Record{Op: "draft", Conv: conv, Text: s}, &command{Conv: conv, Text: s})
}

// keep saves or imports a message: it exists on this device only.
func (d *device) keep(conv string, imported bool, b uint64) {
	if d.drv == nil {
		return
	}
	k := &Kept{Run: d.run, Conv: conv, Tag: d.newTag(Pass), Imported: imported, At: d.r.h.clock.Add(1)}
	m := textMessage(k.Tag, k.Tag)
	rec, cmd := Record{Op: "save", Conv: conv, Tag: k.Tag}, &command{Conv: conv}
	if b%2 == 0 {
		m.Sender = conv
	}
	if imported {
		rec.Op = "import"
		m.ServerTime = uint64(time.Now().Unix()) - b>>8%20
	}
	cmd.Msgs = encodeAll([]*im.Message{m})
	k.Code = codeKilled
	if r := d.blocking(rec, cmd); r != nil {
		k.Code = r.Code
	}
	d.mu.Lock()
	d.Kept = append(d.Kept, k)
	d.mu.Unlock()
}
