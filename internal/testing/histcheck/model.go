package histcheck

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/im"
)

// model is what the calls and their answers allow the server and the devices to be.
type model struct {
	h     *History
	audit *Audit
	// full is the log of two people, from both their views of all audits: what one has deleted the other may have.
	full  map[place]*im.Entry
	sends map[sendKey]*Send
	ops   []*op
	rows  map[owned][]*op // those that change a user's row of a conversation, or the user's messages in it
	// texts is what a message was at each of its versions, and who reported that first.
	texts map[place]map[uint64]seenText
	clash []string
}

type sendKey struct{ tag, from, to string }

// owned is a conversation of a user.
type owned struct{ user, conv string }

type seenText struct{ text, where string }

// op is a call with its answer.
type op struct {
	d          *Device
	call, ret  Record
	begin, end int64 // end: when it cannot have an effect any more
	code       int32
}

// sure reports that it was certainly done, never that it was not.
func (o *op) sure() bool { return o.code == 0 }
func (o *op) never() bool {
	switch o.code {
	case im.CodeInvalidParameters, im.CodeDisconnected, im.CodeNoSuchMessage, im.CodeModifyConflict, im.CodeRevokeWindow, im.CodeAlreadyRevoked, im.CodeTooManyRequests, refused:
		return true
	}
	return false
}

func newModel(h *History) *model {
	m := &model{h: h, audit: h.Server, full: map[place]*im.Entry{}, sends: map[sendKey]*Send{}, rows: map[owned][]*op{}, texts: map[place]map[uint64]seenText{}}
	for _, d := range h.everybody() {
		d.mu.Lock()
		for _, s := range d.Sends {
			m.sends[sendKey{s.Tag, s.User, s.Conv}] = s
		}
		d.mu.Unlock()
		m.collect(d)
	}
	for _, a := range append(slices.Clone(h.Audits), h.Server) {
		for user, logs := range a.Logs {
			for conv, l := range logs {
				for _, e := range l.Entries {
					k := place{pairOf(user, conv), e.Seq}
					if o := m.full[k]; o == nil || e.Version > o.Version || e.Status > o.Status {
						m.full[k] = e
					}
					m.observe(k, e.Version, text(e.Message), "the log")
				}
			}
		}
	}
	return m
}

// collect gathers the calls of a device, and the contents that it got.
func (m *model) collect(d *Device) {
	open := map[int]*op{}
	for _, r := range d.records() {
		switch r.Kind {
		case Calling:
			o := &op{d: d, call: r, begin: r.At, end: math.MaxInt64, code: codeKilled}
			open[r.Call] = o
			m.ops = append(m.ops, o)
			user := d.User
			if r.Op != "modify" && r.Op != "send" && user != "" {
				m.rows[owned{user, r.Conv}] = append(m.rows[owned{user, r.Conv}], o)
			}
		case Returned:
			if o := open[r.Call]; o != nil {
				o.ret, o.code = r, r.Code
				if o.sure() || o.never() {
					o.end = r.At
				}
				if r.Op == "modify" && r.Code == 0 && r.ID != "" && m.verdict(o) != Drop {
					m.observe(place{pairOf(d.User, r.Conv), r.Seq}, r.Version, r.ID, d.Name+"'s call")
				}
			}
		case New, Updated:
			if r.Seq != 0 && r.N != int(im.MessageStatus_MESSAGE_STATUS_REVOKED) {
				m.observe(place{pairOf(d.User, r.Conv), r.Seq}, r.Version, r.Text, d.Name)
			}
		}
	}
}

// verdict returns the webhook's verdict on a modification; it is not asked about those of the operator, which have no mark.
func (m *model) verdict(o *op) Verdict {
	if !m.h.Hooked {
		return Pass
	}
	return verdictOf(o.call.Text)
}

// observe records what somebody saw of a message; one version has one content.
func (m *model) observe(k place, version uint64, text, where string) {
	t := m.texts[k]
	if t == nil {
		t = map[uint64]seenText{}
		m.texts[k] = t
	}
	if o, ok := t[version]; ok && o.text != text {
		m.clash = append(m.clash, fmt.Sprintf("%s %d is %q at version %d to %s, and %q to %s", k.pair, k.seq, o.text, version, o.where, text, where))
	} else if !ok {
		t[version] = seenText{text, where}
	}
}

// attempts are the calls that change what a user has of a conversation.
func (m *model) attempts(user, conv string, names ...string) (out []*op) {
	for _, o := range m.rows[owned{user, conv}] {
		if !o.never() && slices.Contains(names, o.call.Op) {
			out = append(out, o)
		}
	}
	return out
}

// couldBe reports whether a setting can have a value: that of a write that was not followed by a certain one, or the first value if none is certain.
func couldBe(writes []*op, value func(*op) int, first, got int) bool {
	// Deleting a conversation that the device does not know yet has no effect.
	certain := func(o *op) bool { return o.sure() && o.call.Op != "deleteconv" }
	if got == first && !slices.ContainsFunc(writes, certain) {
		return true
	}
	for _, w := range writes {
		if value(w) == got && !slices.ContainsFunc(writes, func(o *op) bool { return certain(o) && o.begin > w.end }) {
			return true
		}
	}
	return false
}

// sendOf finds the send that an entry of a user's log comes from.
func (m *model) sendOf(user, conv string, e *im.Entry) *Send {
	to := conv
	if e.Sender != user {
		to = user
	}
	return m.sends[sendKey{e.Message.GetCloudCustomStr(), e.Sender, to}]
}

// firstText returns what a send must have become when it was stored.
func (m *model) firstText(s *Send) string {
	if m.h.Hooked && s.Verdict == Rewrite {
		return rewritten(s.Tag)
	}
	return s.Tag
}

// at returns what is known of a number of a conversation, whoever has deleted it; nil if nothing is.
func (m *model) at(user, conv string, seq uint64) *im.Entry {
	k := place{pairOf(user, conv), seq}
	if e := m.full[k]; e != nil {
		return e
	}
	if x := m.h.metAt(k); x != nil {
		return &im.Entry{Seq: seq, Sender: x.Sender, Message: x, Countable: !x.IsExcludedFromUnreadCount, Time: int64(x.ServerTime) * 1000}
	}
	return nil
}

// unread counts unread messages by looking at every message. It cannot tell if one is unknown.
func (m *model) unread(user, conv string, l *Log) (n uint64, ok bool) {
	if user == conv {
		return 0, true
	}
	recalled := map[uint64]bool{}
	for _, ch := range l.Changes {
		if ch.Kind == im.ChangeKind_CHANGE_REVOKE {
			recalled[ch.Seq] = true
		}
	}
	for seq := l.Head.ReadSeq + 1; seq <= l.Head.Seq; seq++ {
		e := m.at(user, conv, seq)
		if e == nil {
			return 0, false
		}
		if e.Countable && e.Sender != user && !recalled[seq] {
			n++
		}
	}
	return n, true
}

func (m *model) counts(l *Log) bool { return l.Head.RecvOpt == 0 || l.Head.RecvOpt == 4 }

// gone reports whether a message must, or may, be absent from a device because the device itself has deleted it.
func (m *model) gone(d *Device, conv string, seq uint64) (must, may bool) {
	for _, o := range m.rows[owned{d.User, conv}] {
		if o.d == d && !o.never() && (o.call.Op == "delete" || o.call.Op == "deletelocal") && slices.Contains(o.call.Seqs, seq) {
			may = true
			must = must || o.sure()
		}
	}
	return must, may
}

// finalState compares what a device reports about itself with the server and the calls.
func (m *model) finalState(d *Device, f *Final, rs []Record) (bad []string) {
	fail := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	logs := m.audit.Logs[d.User]
	sum := 0
	for _, conv := range sortedKeys(logs) {
		l := logs[conv]
		n, known := m.unread(d.User, conv, l)
		if !known {
			n = l.Head.Unread
		}
		if m.counts(l) {
			sum += int(n)
		}
		m.finalConv(d, f, conv, l, n, fail)
		m.finalHistory(d, f, conv, l, fail)
	}
	if f.Total != sum {
		fail("total %d, counted %d", f.Total, sum)
	}
	for i, conv := range f.Order {
		x := f.Convs[conv]
		if logs[conv] == nil && len(m.attempts(d.User, conv, "draft", "save", "import", "send", "sendfunc", "batch", "recvopt")) == 0 {
			fail("%s is in the list, and there is nothing of it", conv)
		}
		if i > 0 {
			if before := f.Convs[f.Order[i-1]]; before.ActiveTime < x.ActiveTime || x.IsPinned && !before.IsPinned {
				fail("%s is listed behind %s", conv, before.Id)
			}
		}
	}
	m.announced(d, f, rs, sum, fail)
	return bad
}

// finalConv compares a conversation's place in the list.
func (m *model) finalConv(d *Device, f *Final, conv string, l *Log, unread uint64, fail func(string, ...any)) {
	x := f.Convs[conv]
	if x == nil {
		if !l.Head.Hidden {
			fail("%s is not in the list", conv)
		}
		return
	}
	if l.Head.Hidden && len(m.here(d, conv)) == 0 {
		fail("%s is in the list, and was deleted", conv)
	}
	if x.UnreadNum != unread {
		fail("%s: says %d unread, counted %d (read up to %d)", conv, x.UnreadNum, unread, l.Head.ReadSeq)
	}
	if x.IsPinned != l.Head.Pinned || x.RecvOpt != l.Head.RecvOpt {
		fail("%s: pinned %v, receive option %d; the server has %v, %d", conv, x.IsPinned, x.RecvOpt, l.Head.Pinned, l.Head.RecvOpt)
	}
	newest := Item{}
	if h := f.History[conv]; len(h) > 0 {
		newest = h[0]
	}
	if o := x.LastMsg; o.GetSeq() != newest.Seq || o.GetCloudCustomStr() != newest.Tag || text(o) != newest.Text {
		fail("%s: the last message is %d %q, and the first one listed %d %q", conv, o.GetSeq(), text(o), newest.Seq, newest.Text)
	}
	// Drafts: what this device has set last, or none if somebody may have deleted the conversation since.
	var want *op
	optional := false
	for _, o := range m.rows[owned{d.User, conv}] {
		if o.d != d || o.call.Op != "draft" || o.never() {
			continue
		}
		if o.code == im.CodeNotLoggedIn { // refused: there is nowhere to keep it
			continue
		}
		optional = optional || !o.sure() // it was killed in the meantime
		want = o
	}
	got := ""
	if x.Draft != nil {
		got = x.Draft.UserDefine
	}
	switch {
	case want == nil && got != "":
		fail("%s: there is a draft, %q, and none was set", conv, got)
	case want != nil && got != want.call.Text && !optional:
		if got != "" || len(m.attempts(d.User, conv, "deleteconv")) == 0 {
			fail("%s: the draft is %q, and %q was set", conv, got, want.call.Text)
		}
	}
}

// here are the calls that keep a conversation in the list of one device only.
func (m *model) here(d *Device, conv string) (out []*op) {
	for _, o := range m.rows[owned{d.User, conv}] {
		if o.d == d && slices.Contains([]string{"draft", "save", "import", "sendfunc"}, o.call.Op) {
			out = append(out, o)
		}
	}
	for _, s := range d.Sends {
		if s.Conv == conv && s.Seq == 0 && !s.Online {
			out = append(out, &op{d: d})
		}
	}
	return out
}

// finalHistory compares what a device lists of a conversation.
func (m *model) finalHistory(d *Device, f *Final, conv string, l *Log, fail func(string, ...any)) {
	listed := map[uint64]Item{}
	tags := map[string]int{}
	before := uint64(math.MaxUint64)
	for _, it := range f.History[conv] {
		tags[it.Tag]++
		if it.Seq == 0 {
			m.finalLocal(d, conv, it, fail)
			continue
		}
		if it.Seq >= before {
			fail("%s: lists seq %d after %d", conv, it.Seq, before)
		}
		before = it.Seq
		listed[it.Seq] = it
	}
	for tag, n := range tags {
		if n > 1 {
			var as []string
			for _, it := range f.History[conv] {
				if it.Tag == tag {
					as = append(as, fmt.Sprintf("seq %d status %d id %s", it.Seq, it.Status, it.ID))
				}
			}
			fail("%s: lists %q %d times: %s", conv, tag, n, as)
		}
	}
	present := map[uint64]*im.Entry{}
	for _, e := range l.Entries {
		present[e.Seq] = e
	}
	for seq := l.Head.Seq; seq > 0; seq-- {
		it, isListed := listed[seq]
		e := present[seq]
		must, may := m.gone(d, conv, seq)
		switch {
		case isListed && seq <= l.Head.ClearedSeq:
			fail("%s: lists seq %d, %q, which was cleared", conv, seq, it.Text)
		case isListed && must:
			fail("%s: lists seq %d, %q, which was deleted here", conv, seq, it.Text)
		case !isListed && e != nil && !may:
			fail("%s: does not list seq %d, %q", conv, seq, text(e.Message))
		}
		if !isListed {
			continue
		}
		if e == nil {
			e = m.at(d.User, conv, seq) // deleted by another device; a device that has it keeps it
		}
		if e == nil {
			fail("%s: lists seq %d, %q, of which nobody knows", conv, seq, it.Text)
			continue
		}
		m.finalItem(d, conv, l, it, e, present[seq] != nil, fail)
	}
	// What was kept on this device only is there, unless the conversation may have been cleared since. It is not known when this device was notified
	// that another one had cleared it.
	clears := m.attempts(d.User, conv, "clear", "deleteconv")
	for _, k := range d.Kept {
		if k.Conv == conv && k.Code == 0 && tags[k.Tag] == 0 && !slices.ContainsFunc(clears, func(o *op) bool { return o.d != d || o.end > k.At }) {
			fail("%s: does not list %q, which was kept here", conv, k.Tag)
		}
	}
}

func (m *model) finalItem(d *Device, conv string, l *Log, it Item, e *im.Entry, sharp bool, fail func(string, ...any)) {
	if it.Sender != e.Sender || it.Tag != e.Message.GetCloudCustomStr() {
		fail("%s: lists seq %d as %q by %s; the log has %q by %s", conv, it.Seq, it.Tag, it.Sender, e.Message.GetCloudCustomStr(), e.Sender)
	}
	if sharp { // what another device has deleted may be unchanged
		want := max(e.Status, im.MessageStatus_MESSAGE_STATUS_SENT)
		if it.Status != want || want != im.MessageStatus_MESSAGE_STATUS_REVOKED && (it.Text != text(e.Message) || it.Version != e.Version) {
			fail("%s: lists seq %d as %q, version %d, status %d; the log has %q, version %d, status %d", conv, it.Seq, it.Text, it.Version, it.Status, text(e.Message), e.Version, want)
		}
	}
	if it.Read != (e.Sender == d.User || e.Seq <= l.Head.ReadSeq) {
		fail("%s: seq %d is read: %v, and the position %d", conv, it.Seq, it.Read, l.Head.ReadSeq)
	}
	if it.PeerRead != (e.Sender == d.User && e.Seq <= l.Head.PeerReadSeq) {
		fail("%s: seq %d is read by the peer: %v, and the position %d", conv, it.Seq, it.PeerRead, l.Head.PeerReadSeq)
	}
	if s := m.sendOf(d.User, conv, e); s != nil && s.Device == d && s.ID != "" && it.ID != s.ID {
		fail("%s: seq %d has the id %s, was sent as %s", conv, it.Seq, it.ID, s.ID)
	}
}

// finalLocal judges a listed message that is in no log: it failed, was dropped, or was kept.
func (m *model) finalLocal(d *Device, conv string, it Item, fail func(string, ...any)) {
	if s := m.sends[sendKey{it.Tag, d.User, conv}]; s != nil && s.Device == d {
		dropped := m.h.Hooked && s.Verdict == Drop && (s.Code == 0 || s.Code == codeKilled) // killed: perhaps with the answer on disk
		switch {
		case s.Online:
			fail("%s: lists %q, which was for whoever was online", conv, it.Tag)
		case it.Status == im.MessageStatus_MESSAGE_STATUS_SENT && dropped:
		case it.Status == im.MessageStatus_MESSAGE_STATUS_FAILED && s.Code != 0:
		default:
			fail("%s: lists %q without a number, status %d, answered %d", conv, it.Tag, it.Status, s.Code)
		}
		return
	}
	for _, k := range d.Kept {
		if k.Tag == it.Tag && k.Conv == conv {
			want := im.MessageStatus_MESSAGE_STATUS_SENT
			if k.Imported {
				want = im.MessageStatus_MESSAGE_STATUS_IMPORTED
			}
			if it.Status != want || it.Text != k.Tag {
				fail("%s: lists %q with status %d, text %q", conv, it.Tag, it.Status, it.Text)
			}
			return
		}
	}
	fail("%s: lists %q, which was never sent from here", conv, it.Tag)
}

// announced compares the states that were announced with the actual ones.
func (m *model) announced(d *Device, f *Final, rs []Record, sum int, fail func(string, ...any)) {
	s := newStates()
	for i := range rs {
		s.take(&rs[i])
	}
	if s.total != sum && !slices.Contains(s.totalOpen, sum) {
		fail("the last total told is %d, counted %d", s.total, sum)
	}
	names := map[string]bool{}
	for conv := range f.Convs {
		names[conv] = true
	}
	for conv := range s.info {
		names[conv] = true
	}
	for _, conv := range sortedKeys(names) {
		is := ""
		if x := f.Convs[conv]; x != nil {
			is = string(encode(x))
		}
		told := s.info[conv]
		if l := m.audit.Logs[d.User][conv]; l != nil && l.Head.RecvOpt == optNothing {
			m.announcedSilent(d, conv, f.Convs[conv], append(slices.Clone(s.open[conv]), told), fail)
			continue
		}
		if told != is && !slices.Contains(s.open[conv], is) {
			fail("%s is %v, told %v", conv, f.Convs[conv], decodeConv(told))
		}
	}
	// Receipts: for the last position.
	for conv, l := range m.audit.Logs[d.User] {
		at := uint64(l.Head.PeerReadTime / 1000)
		if conv == d.User {
			continue
		}
		if got := s.receipts[conv]; got > at || d.First && got < at && l.Head.RecvOpt != optNothing {
			fail("%s: the last receipt told is of %d, the peer has read at %d", conv, got, at)
		}
	}
}

func decodeConv(s string) *im.ConvInfo {
	if s == "" {
		return nil
	}
	x := &im.ConvInfo{}
	x.UnmarshalVT([]byte(s))
	return x
}

// states is what was last announced to a device of its conversations and the total. A crash of the application may repeat the last set of them, if it
// was not recorded yet that they were announced: then what was announced before is possible too.
type states struct {
	info     map[string]string   // as last announced; "" is not in the list
	open     map[string][]string // what may have been kept instead
	receipts map[string]uint64

	total     int
	totalOpen []int

	batch, rank, later int                 // the last callback; message callbacks since the last set
	set                map[string][]string // conversations of the last set, and what was possible before it
	setTotal           []int
}

func newStates() *states {
	return &states{info: map[string]string{}, open: map[string][]string{}, receipts: map[string]uint64{}, set: map[string][]string{}}
}

func (s *states) kept() {
	clear(s.set)
	s.setTotal, s.later = nil, 0
}

// next records that another callback begins. A set is kept when the next one begins, or the second callback of messages after it.
func (s *states) next(r *Record) {
	if !r.callback() || r.Batch == s.batch {
		return
	}
	rank := slices.Index([]string{Receipt, Add, Update, Delete, Total}, r.Kind)
	if rank >= 0 && rank <= s.rank {
		s.kept()
	}
	if owed(r) {
		if s.later++; s.later > 1 {
			s.kept()
		}
	}
	s.batch, s.rank = r.Batch, rank
	if rank < 0 {
		s.rank = len("any of them begins a set")
	}
}

// owed reports that the callback is repeated after a crash.
func owed(r *Record) bool {
	return (r.Kind == New || r.Kind == Updated || r.Kind == Revoked) && !r.Online
}

// take follows a record and returns what is wrong with it.
func (s *states) take(r *Record) (bad string) {
	s.next(r)
	switch r.Kind {
	case Add, Update, Delete:
		old, now := s.info[r.Conv], r.Info
		if r.Kind == Delete {
			now = ""
		}
		possible := append(s.open[r.Conv], old)
		if len(possible) == 1 {
			switch {
			case r.Kind == Add && old != "":
				bad = "added twice"
			case r.Kind == Update && old == "":
				bad = "updated and was never added"
			case r.Kind == Update && old == now:
				bad = "updated to what it was"
			case r.Kind == Delete && old == "":
				bad = "deleted and was never added"
			}
		}
		s.info[r.Conv] = now
		s.set[r.Conv] = possible
		delete(s.open, r.Conv)
	case Receipt:
		if r.Time < s.receipts[r.Conv] {
			bad = "a receipt of an earlier time than the one before"
		}
		s.receipts[r.Conv] = r.Time
	case Total:
		if r.N == s.total && len(s.totalOpen) == 0 {
			bad = "total told twice"
		}
		s.setTotal = append(s.totalOpen, s.total)
		s.total, s.totalOpen = r.N, nil
	case Opened:
		s.kept()
		s.batch, s.rank = 0, 0
	case Died:
		maps.Copy(s.open, s.set)
		if s.setTotal != nil {
			s.totalOpen = s.setTotal
		}
	}
	return bad
}

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.SortFunc(out, strings.Compare)
	return out
}
