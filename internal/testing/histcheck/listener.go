package histcheck

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tidings-im/tidings/im"
)

// key names a message of a device.
type key struct {
	conv string
	seq  uint64
}

// listener follows what one device got.
type listener struct {
	c    *checker
	d    *Device
	logs map[string]*Log

	fired, revoked map[key]int   // record + 1
	version        map[key]int64 // newest reported
	updates        map[key]int
	last           map[string]uint64
	mine           map[string]*Send // by tag and conversation
	answeredAt     map[*Send]int    // the record of a Func answer
	online         map[string]int
	deleted        map[key]int // deleted here, by an acknowledged call
	open           map[int]Record
	dead           map[int]bool // runs that were killed

	// After a crash, what the last callback reported of messages may be repeated, before the sync starts.
	batch  int
	recent map[toldEvent]int // what that callback reported
	again  map[toldEvent]int
	owing  bool // no sync has begun since it was opened

	states  *states
	silence *silence
}

func (c *checker) device(d *Device) {
	l := &listener{c: c, d: d, logs: c.h.Server.Logs[d.User], fired: map[key]int{}, revoked: map[key]int{}, version: map[key]int64{}, updates: map[key]int{}, last: map[string]uint64{},
		mine: map[string]*Send{}, answeredAt: map[*Send]int{}, online: map[string]int{}, deleted: map[key]int{}, open: map[int]Record{}, dead: map[int]bool{},
		recent: map[toldEvent]int{}, again: map[toldEvent]int{}, states: newStates(),
		silence: newSilence(d, 0, func(conv string) []*op { return c.model.attempts(d.User, conv, "recvopt") }, optNothing)}
	for _, s := range d.Sends {
		l.mine[s.Tag+"\x00"+s.Conv] = s
	}
	rs := d.records()
	life := lifeCheck{net: -1}
	for i := range rs {
		r := &rs[i]
		if msg := life.take(i, r); msg != "" {
			l.bad("%s: %v", msg, *r)
		}
		if r.Kind == Update && len(l.states.open[r.Conv]) == 0 && l.states.info[r.Conv] != "" && l.silence.must(r.Conv, r.At) &&
			!byOwner(d.User, decodeConv(l.states.info[r.Conv]), decodeConv(r.Info)) {
			l.bad("told of a silent conversation what others did: %v", *r)
		}
		if msg := l.states.take(r); msg != "" {
			l.bad("%s: %v", msg, *r)
		}
		l.crash(r)
		switch r.Kind {
		case New:
			l.announced(i, r)
		case Updated:
			l.updated(i, r)
		case Revoked:
			l.recalled(i, r)
		case Receipt:
			l.receipt(r)
		case Calling:
			l.open[r.Call] = *r
		case Answer, Returned:
			l.answer(i, r)
		}
	}
	for _, r := range l.open {
		if l.dead[r.Run] {
			continue
		}
		l.bad("never answered: %v", r)
	}
	l.end()
}

func (l *listener) bad(format string, args ...any) {
	l.c.fail("%s: %s", l.d.Name, fmt.Sprintf(format, args...))
}

// crash determines which callbacks may be repeated.
func (l *listener) crash(r *Record) {
	switch {
	case r.Kind == Opened:
		l.batch = 0
		clear(l.recent)
	case r.Kind == Died:
		if len(l.recent) > 0 {
			l.again = maps.Clone(l.recent) // what was owed before it has fired
		}
		l.dead[r.Run] = true
	case r.Kind == Start: // what was owed has fired; a run that did not get that far still owes it
		clear(l.again)
	case owed(r) && r.Batch != l.batch:
		l.batch = r.Batch
		clear(l.recent)
	}
	if r.Kind == Opened || r.Kind == Start {
		l.owing = r.Kind == Opened
	}
	if owed(r) {
		l.recent[toldOf(r)]++
	}
}

// toldEvent is an event of a message; which version it has depends on when it fires.
type toldEvent struct {
	kind, conv string
	seq        uint64
}

func toldOf(r *Record) toldEvent { return toldEvent{r.Kind, r.Conv, r.Seq} }

// repeated reports whether a record repeats one after a crash, and accounts for it.
func (l *listener) repeated(r *Record) bool {
	k := toldOf(r)
	if l.again[k] == 0 {
		return false
	}
	l.again[k]--
	return true
}

func (l *listener) announced(i int, r *Record) {
	if r.Seq == 0 {
		l.onlineOnly(r)
		return
	}
	k := key{r.Conv, r.Seq}
	again := l.fired[k] != 0 && l.repeated(r)
	e := l.c.model.at(l.d.User, r.Conv, r.Seq)
	switch {
	case l.logs[r.Conv] == nil || r.Seq > l.logs[r.Conv].Head.Seq || e == nil:
		l.bad("announced what is in no log: %v", *r)
	case e.Message.GetCloudCustomStr() != r.Tag || e.Sender != r.From || uint64(e.Time/1000) != r.Time:
		l.bad("announced %v, the log has %s by %s at %d", *r, e.Message.GetCloudCustomStr(), e.Sender, e.Time)
	}
	if s := l.mine[r.Tag+"\x00"+r.Conv]; s != nil && r.From == l.d.User {
		l.bad("announced its own message: %v", *r)
	}
	if at := l.deleted[k]; at != 0 && !again {
		l.bad("announced after it was deleted here, at %d: %v", at-1, *r)
	}
	if again {
		l.version[k] = max(l.version[k], int64(r.Version))
		return
	}
	if l.fired[k] != 0 {
		l.bad("announced twice, at %d and %d: %v", l.fired[k]-1, i, *r)
	}
	if r.Seq <= l.last[r.Conv] {
		l.bad("announced %d after %d: %v", r.Seq, l.last[r.Conv], *r)
	}
	l.silent(r, r.From)
	if l.revoked[k] != 0 {
		l.bad("announced after its recall: %v", *r)
	}
	if l.updates[k] != 0 {
		l.bad("announced after its update: %v", *r)
	}
	l.last[r.Conv] = max(l.last[r.Conv], r.Seq)
	l.fired[k] = i + 1
	l.version[k] = int64(r.Version)
}

// silent judges an event about what somebody did in a conversation.
func (l *listener) silent(r *Record, by string) {
	if by != l.d.User && l.silence.must(r.Conv, r.At) {
		l.bad("told in a silent conversation what %q did: %v", by, *r)
	}
}

// onlineOnly judges a message that is not kept: at most once, from a known sender, and not on this device.
func (l *listener) onlineOnly(r *Record) {
	to := r.Conv
	if r.From != l.d.User {
		to = l.d.User
	}
	s := l.c.model.sends[sendKey{r.Tag, r.From, to}]
	switch {
	case s == nil || !s.Online || !r.Online:
		l.bad("announced without a number: %v", *r)
	case s.Device == l.d:
		l.bad("announced its own message: %v", *r)
	}
	if l.online[r.Tag]++; l.online[r.Tag] > 1 {
		l.bad("announced twice, and online-only: %v", *r)
	}
	l.silent(r, r.From)
}

func (l *listener) updated(i int, r *Record) {
	k := key{r.Conv, r.Seq}
	e := l.c.model.at(l.d.User, r.Conv, r.Seq)
	if e == nil || e.Message.GetCloudCustomStr() != r.Tag {
		l.bad("an update of a message that is not: %v", *r)
		return
	}
	if l.updates[k] != 0 && l.repeated(r) { // or the next update of the same message, which had not fired
		l.version[k] = max(l.version[k], int64(r.Version))
		return
	}
	if at := l.deleted[k]; at != 0 && l.c.made[r.Text] != nil && l.c.made[r.Text].begin > l.d.records()[at-1].At { // otherwise it may have waited to fire
		l.bad("updated after it was deleted here, at %d: %v", at-1, *r)
	}
	s := l.mine[r.Tag+"\x00"+r.Conv]
	if s != nil && r.From != l.d.User {
		s = nil
	}
	before, known := l.version[k]
	switch {
	case known && int64(r.Version) < before, known && int64(r.Version) == before && !l.owing: // what was owed fires as it is by then
		l.bad("updated to version %d after %d: %v", r.Version, before, *r)
	case r.Version == 0 && (s == nil || s.Verdict != Rewrite):
		l.bad("nobody rewrote it: %v", *r)
	}
	if s != nil && s.Func && s.Run == r.Run && s.Answers > 0 && l.answeredAt[s] == 0 {
		l.bad("told of a rewritten message before the result of its call: %v", *r)
	}
	// Operators change messages in their own name. A message of this device whose answer was lost is told as it is found, whoever has changed it.
	if o := l.c.made[r.Text]; o != nil && (s == nil || known) {
		l.silent(r, o.d.User)
	}
	l.version[k] = int64(r.Version)
	l.updates[k] = i + 1
}

func (l *listener) recalled(i int, r *Record) {
	k := key{r.Conv, r.Seq}
	if again := l.revoked[k] != 0 && l.repeated(r); !again {
		if l.revoked[k] != 0 {
			l.bad("recall told twice: %v", *r)
		}
		l.silent(r, r.From)
	}
	recalled := false
	if log := l.logs[r.Conv]; log != nil {
		recalled = slices.ContainsFunc(log.Changes, func(ch *im.Change) bool { return ch.Kind == im.ChangeKind_CHANGE_REVOKE && ch.Seq == r.Seq })
	}
	if !recalled {
		l.bad("a recall from nowhere: %v", *r)
	}
	l.revoked[k] = i + 1
}

func (l *listener) receipt(r *Record) {
	l.silent(r, r.Conv)
	if sets, _ := l.silence.options(r.Conv); len(sets) > 0 {
		return // what it is about may have been silent
	}
	if log := l.logs[r.Conv]; log != nil && (len(log.Changes) > 0 || len(l.c.model.attempts(l.d.User, r.Conv, "clear", "deleteconv", "delete")) > 0) {
		return // what was recalled or cleared before it arrived is on the device, and was not announced
	}
	if l.last[r.Conv] == 0 && l.d.First && !slices.ContainsFunc(l.d.Sends, func(s *Send) bool { return s.Conv == r.Conv }) {
		l.bad("a receipt before any message: %v", *r)
	}
}

// answer judges the end of a call.
func (l *listener) answer(i int, r *Record) {
	if _, ok := l.open[r.Call]; !ok {
		if r.Code != codeKilled {
			l.bad("an answer to no call, or the second one: %v", *r)
		}
		return
	}
	delete(l.open, r.Call)
	log := l.logs[r.Conv]
	if r.Op == "sendfunc" {
		l.answeredAt[l.mine[r.Tag+"\x00"+r.Conv]] = i + 1
	}
	if r.Op == "history" {
		before := uint64(0)
		for _, seq := range r.Seqs {
			if at := l.deleted[key{r.Conv, seq}]; at != 0 {
				l.bad("lists %d, which was deleted here at %d: %v", seq, at-1, *r)
			}
			if before != 0 && seq != 0 && (seq > before) != r.Self {
				l.bad("lists %d beside %d: %v", seq, before, *r)
			}
			if seq != 0 {
				before = seq
			}
		}
	}
	if r.Code != 0 {
		return
	}
	switch r.Op {
	case "read":
		if r.Seq > 0 && (log == nil || log.Head.ReadSeq < r.Seq) {
			l.bad("read up to %d was acknowledged and is lost: %v", r.Seq, *r)
		}
	case "revoke":
		if log == nil || !slices.ContainsFunc(log.Changes, func(ch *im.Change) bool { return ch.Kind == im.ChangeKind_CHANGE_REVOKE && ch.Seq == r.Seq }) {
			l.bad("a recall was acknowledged and is lost: %v", *r)
		}
	case "delete", "deletelocal":
		for _, seq := range r.Seqs {
			l.deleted[key{r.Conv, seq}] = i + 1
		}
	case "clear", "deleteconv":
		// What was reported before the call is cleared.
		for k, at := range l.fired {
			if k.conv == r.Conv && l.d.records()[at-1].At < l.callOf(r).At && log != nil && k.seq > log.Head.ClearedSeq {
				l.bad("cleared, and %d was here before, and is not cleared: %v", k.seq, *r)
			}
		}
	}
}

func (l *listener) callOf(r *Record) Record {
	for _, x := range l.d.records() {
		if x.Kind == Calling && x.Call == r.Call {
			return x
		}
	}
	return Record{}
}

// end checks that the device got everything that it must have got.
func (l *listener) end() {
	d := l.d
	if d.Final == nil {
		l.bad("not looked at in the end")
		return
	}
	if d.Final.Trouble != "" {
		l.bad("in the end: %s", d.Final.Trouble)
	}
	for conv, log := range d.Final.Server.Logs[d.User] {
		from := uint64(1)
		if !d.First { // it began somewhere, and has everything from there on
			from = log.Head.Seq + 1
			for k := range l.fired {
				if k.conv == conv {
					from = min(from, k.seq)
				}
			}
		}
		cut := len(l.c.model.attempts(d.User, conv, "clear", "deleteconv", "delete", "deletelocal")) > 0
		paged := slices.ContainsFunc(l.c.model.rows[owned{d.User, conv}], func(o *op) bool { return o.d == d && o.call.Op == "history" })
		for _, e := range log.Entries {
			k := key{conv, e.Seq}
			recalled := e.Status == im.MessageStatus_MESSAGE_STATUS_REVOKED
			_, mayBeGone := l.c.model.gone(d, conv, e.Seq)
			s := l.mine[e.Message.GetCloudCustomStr()+"\x00"+conv]
			if s != nil && e.Sender != d.User {
				s = nil
			}
			made := int64(0)
			if sent := l.c.model.sendOf(d.User, conv, e); sent != nil {
				made = sent.At
			}
			if e.Seq >= from && l.fired[k] == 0 && s == nil && !recalled && !mayBeGone && (e.Sender == d.User || !l.silence.may(conv, e.Seq, made)) {
				l.bad("never heard of %s seq %d %q", conv, e.Seq, text(e.Message))
			}
			if recalled || mayBeGone {
				continue
			}
			if s != nil && l.c.h.Hooked && s.Verdict == Rewrite && !cut && l.updates[k] == 0 {
				l.bad("its message was rewritten, and it was never told: %s seq %d %q", conv, e.Seq, s.Tag)
			}
			if o := l.c.made[text(e.Message)]; o != nil && o.d.User != d.User && l.silence.may(conv, 0, o.begin) {
				continue
			}
			if v, told := l.version[k]; !paged && d.First && e.Version > 0 && (told && v < int64(e.Version) || s != nil && !told) {
				l.bad("was told of version %d (%v) of %s seq %d, which has %d", v, told, conv, e.Seq, e.Version)
			}
		}
		for _, ch := range log.Changes {
			if d.First && ch.Kind == im.ChangeKind_CHANGE_REVOKE && l.revoked[key{conv, ch.Seq}] == 0 && ch.Seq > log.Head.ClearedSeq && (ch.Operator == d.User || !l.silence.may(conv, 0, 0)) {
				l.bad("never heard of the recall of %s seq %d", conv, ch.Seq)
			}
		}
	}
}

// lifeCheck follows sessions and links.
type lifeCheck struct {
	net, anew                      int // starting over: so many attempts to connect need not follow from the event before; callbacks come later than what a call began
	starts, finishes, kicks, login int
}

func (c *lifeCheck) take(i int, r *Record) string {
	switch r.Kind {
	case Start:
		if c.starts++; c.starts > c.login {
			return "a sync that no login began"
		}
	case Finish:
		if c.finishes++; c.finishes > c.starts {
			return "a sync that ended and had not begun"
		}
	case Kicked:
		c.anew++
		if c.kicks++; c.kicks > c.login {
			return "kicked more often than logged in"
		}
	case Network:
		ok := legal(c.net, r.N)
		if !ok {
			c.anew--
			ok = r.N == 2 && c.anew >= 0
		}
		before := c.net
		c.net = r.N
		if !ok {
			return fmt.Sprintf("network event %d after %d, record %d", r.N, before, i)
		}
	case Opened:
		c.net, c.anew = -1, 0
	case Calling:
		if r.Op == "login" {
			c.login++
		}
		if r.Op == "login" || r.Op == "logout" {
			c.anew++
		}
	}
	return ""
}

// legal reports which network event may follow which. A login or its end starts over.
func legal(before, now int) bool {
	switch before {
	case 0: // connected
		return now == 1
	case 1, 3: // disconnected, failed
		return now == 2
	case 2: // connecting
		return now == 0 || now == 3
	}
	return now == 2
}
