package histcheck

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/tidings-im/tidings/im"
)

// Check answers what is wrong with a history; nothing if it is as it should be.
func Check(h *History) []string {
	c := &checker{h: h}
	c.bad = append(c.bad, h.Violations...)
	if h.Server == nil {
		c.fail("the server was not read at the end")
		return c.bad
	}
	c.logs()
	c.sends()
	for _, d := range h.Devices {
		c.device(d)
	}
	return c.bad
}

type checker struct {
	h   *History
	bad []string
	// texts is what was ever sent, by its text; logged where it stands in the log.
	texts  map[string]*Send
	logged map[string]*im.Entry
}

func (c *checker) fail(format string, args ...any) {
	c.bad = append(c.bad, fmt.Sprintf(format, args...))
}

// logs checks what the server has: dense, in the order of time, counted rightly, the same for both, and from somewhere.
func (c *checker) logs() {
	c.texts, c.logged = map[string]*Send{}, map[string]*im.Entry{}
	for _, d := range c.h.Devices {
		for _, s := range d.Sends {
			c.texts[s.Text] = s
		}
	}
	for _, user := range c.h.Users {
		for conv, l := range c.h.Server.Logs[user] {
			where := user + " with " + conv
			if uint64(len(l.Entries)) != l.Head.Seq {
				c.fail("%s: %d entries, head %d", where, len(l.Entries), l.Head.Seq)
			}
			var index uint64
			own := map[string]uint64{}
			for i, e := range l.Entries {
				if e.Seq != uint64(i+1) {
					c.fail("%s: entry %d has seq %d", where, i+1, e.Seq)
				}
				if i > 0 && e.Time < l.Entries[i-1].Time {
					c.fail("%s: time runs back at seq %d", where, e.Seq)
				}
				if e.Countable {
					index++
					own[e.Sender]++
				}
				if e.Index != index || e.OwnIndex != own[e.Sender] {
					c.fail("%s: seq %d has index %d, own %d; counted %d, %d", where, e.Seq, e.Index, e.OwnIndex, index, own[e.Sender])
				}
				t := text(e.Message)
				s := c.texts[t]
				to := conv
				if e.Sender != user {
					to = user
				}
				switch {
				case s == nil:
					c.fail("%s: seq %d, %q, comes from nowhere", where, e.Seq, t)
				case s.Device.User != e.Sender || s.Conv != to:
					c.fail("%s: seq %d, %q, was sent by %s to %s", where, e.Seq, t, s.Device.User, s.Conv)
				}
				if user != e.Sender && user != conv {
					continue // each entry once: as its sender has it
				}
				if o := c.logged[t]; o != nil {
					c.fail("%s: %q stands at seq %d and at %d", where, t, o.Seq, e.Seq)
				}
				c.logged[t] = e
			}
			for i, ch := range l.Changes {
				if ch.Rev != uint64(i+1) {
					c.fail("%s: change %d has rev %d", where, i+1, ch.Rev)
				}
			}
			if uint64(len(l.Changes)) != l.Head.Rev {
				c.fail("%s: %d changes, head %d", where, len(l.Changes), l.Head.Rev)
			}
			if n := recount(user, l); n != l.Head.Unread {
				c.fail("%s: the server says %d unread, counted %d", where, l.Head.Unread, n)
			}
			if peer := c.h.Server.Logs[conv][user]; peer == nil {
				c.fail("%s: %s does not have it", where, conv)
			} else if conv != user {
				if peer.Head.ReadSeq != l.Head.PeerReadSeq {
					c.fail("%s: the peer has read up to %d, and %d is told", where, peer.Head.ReadSeq, l.Head.PeerReadSeq)
				}
				if !slices.EqualFunc(l.Entries, peer.Entries, sameEntry) {
					c.fail("%s: the two have different logs", where)
				}
			}
		}
	}
}

func sameEntry(a, b *im.Entry) bool {
	x, errA := a.MarshalVT()
	y, errB := b.MarshalVT()
	return errA == nil && errB == nil && bytes.Equal(x, y)
}

// recount counts what is unread by looking at every message.
func recount(user string, l *Log) uint64 {
	n := uint64(0)
	for _, e := range l.Entries {
		if e.Countable && e.Sender != user && e.Seq > l.Head.ReadSeq && e.Status != im.MessageStatus_MESSAGE_STATUS_REVOKED {
			n++
		}
	}
	return n
}

// sends checks that what was acknowledged is there, once, where it was said to be, in the order of the calls; what failed is there at most once.
func (c *checker) sends() {
	for _, d := range c.h.Devices {
		last := map[string]uint64{}
		run := 0
		for _, s := range d.Sends {
			if s.Run != run {
				run = s.Run
				clear(last)
			}
			if s.Answers != 1 {
				c.fail("%s: %q was answered %d times", d.Name, s.Text, s.Answers)
				continue
			}
			e := c.logged[s.Text]
			switch {
			case s.Code == 0 && e == nil:
				c.fail("%s: %q was acknowledged with seq %d and is nowhere", d.Name, s.Text, s.Seq)
			case s.Code == 0:
				if e.Seq != s.Seq {
					c.fail("%s: %q was acknowledged with seq %d and has %d", d.Name, s.Text, s.Seq, e.Seq)
				}
				if e.Seq <= last[s.Conv] {
					c.fail("%s: %q to %s has seq %d after %d", d.Name, s.Text, s.Conv, e.Seq, last[s.Conv])
				}
				last[s.Conv] = e.Seq
			case s.Code == im.CodeDisconnected && e != nil:
				c.fail("%s: %q was refused for want of a link and was sent", d.Name, s.Text)
			case s.Code != im.CodeDisconnected && s.Code != im.CodeWaitAckTimeout && s.Code != im.CodeNoNetworkTimeout && s.Code != im.CodeInterrupted &&
				s.Code != im.CodeNotLoggedIn && s.Code != im.CodeTooManyRequests:
				c.fail("%s: %q failed with %d", d.Name, s.Text, s.Code)
			}
		}
	}
}

// key names a message of a device.
type key struct {
	conv string
	seq  uint64
}

func (c *checker) device(d *Device) {
	rs := d.records()
	bad := func(format string, args ...any) { c.fail("%s: %s", d.Name, fmt.Sprintf(format, args...)) }
	logs := c.h.Server.Logs[d.User]
	fired, revoked := map[key]int{}, map[key]int{}
	last := map[string]uint64{}
	open := map[int]Record{}
	info := map[string]string{}
	listed := map[string]bool{}
	total, totalRun := 0, 0
	net, anew := -1, 0 // anew: so many tries to connect need not follow from the event before; callbacks come later than what a call began
	receipts := map[string]uint64{}
	starts, finishes, kicks, logins := 0, 0, 0, 0
	mine := map[string]bool{}
	for _, s := range d.Sends {
		mine[s.Text] = true
	}
	for i, r := range rs {
		k := key{r.Conv, r.Seq}
		switch r.Kind {
		case New:
			e := entryOf(logs, k)
			switch {
			case e == nil:
				bad("announced what is in no log: %v", r)
			case text(e.Message) != r.Text || e.Sender != r.From || uint64(e.Time/1000) != r.Time:
				bad("announced %v, the log has %s by %s", r, text(e.Message), e.Sender)
			}
			if fired[k] != 0 {
				bad("announced twice, at %d and %d: %v", fired[k]-1, i, r)
			}
			if mine[r.Text] {
				bad("announced its own message: %v", r)
			}
			if r.Seq <= last[r.Conv] {
				bad("announced %d after %d: %v", r.Seq, last[r.Conv], r)
			}
			if revoked[k] != 0 {
				bad("announced after its recall: %v", r)
			}
			last[r.Conv] = r.Seq
			fired[k] = i + 1
		case Updated:
			bad("nothing rewrites messages here: %v", r)
		case Revoked:
			if revoked[k] != 0 {
				bad("recall told twice: %v", r)
			}
			e := entryOf(logs, k)
			if e == nil || e.Status != im.MessageStatus_MESSAGE_STATUS_REVOKED {
				bad("a recall from nowhere: %v", r)
			}
			revoked[k] = i + 1
		case Receipt:
			if r.Time < receipts[r.Conv] {
				bad("a receipt of an earlier time than the one before: %v", r)
			}
			receipts[r.Conv] = r.Time
			if l := logs[r.Conv]; l != nil && len(l.Changes) > 0 {
				break // what was recalled before it came is here, and was not announced
			}
			if last[r.Conv] == 0 && !slices.ContainsFunc(d.Sends, func(s *Send) bool { return s.Conv == r.Conv && s.Seq != 0 }) && d.First {
				bad("a receipt before any message: %v", r)
			}
		case Add:
			if listed[r.Conv] {
				bad("added twice: %v", r)
			}
			listed[r.Conv], info[r.Conv] = true, r.Info
		case Update:
			if !listed[r.Conv] {
				bad("updated and was never added: %v", r)
			}
			if info[r.Conv] == r.Info {
				bad("updated to what it was: %v", r)
			}
			info[r.Conv] = r.Info
		case Delete:
			if !listed[r.Conv] {
				bad("deleted and was never added: %v", r)
			}
			delete(listed, r.Conv)
		case Total:
			if r.N == total {
				bad("total told twice: %v (before in run %d)", r, totalRun)
			}
			total, totalRun = r.N, r.Run
		case Start:
			starts++
			if starts > logins {
				bad("a sync that no login began: %v", r)
			}
		case Finish:
			finishes++
			if finishes > starts {
				bad("a sync that ended and had not begun: %v", r)
			}
		case Kicked:
			if kicks++; kicks > logins {
				bad("kicked more often than logged in: %v", r)
			}
			anew++
		case Network:
			if !legal(net, r.N) {
				if anew--; r.N != 2 || anew < 0 {
					bad("network event %d after %d, record %d", r.N, net, i)
				}
			}
			net = r.N
		case Opened:
			net, anew = -1, 0
		case Calling:
			open[r.Call] = r
			if r.Op == "login" {
				logins++
			}
			if r.Op == "login" || r.Op == "logout" {
				anew++
			}
		case Answer, Returned:
			if _, ok := open[r.Call]; !ok {
				bad("an answer to no call, or the second one: %v", r)
			}
			delete(open, r.Call)
			if r.Op == "read" && r.Code == 0 && r.Seq > 0 {
				if l := logs[r.Conv]; l == nil || l.Head.ReadSeq < r.Seq {
					bad("read up to %d was acknowledged and is lost: %v", r.Seq, r)
				}
			}
			if r.Op == "revoke" && r.Code == 0 {
				if e := entryOf(logs, k); e == nil || e.Status != im.MessageStatus_MESSAGE_STATUS_REVOKED {
					bad("a recall was acknowledged and is lost: %v", r)
				}
			}
		}
	}
	for _, r := range open {
		bad("never answered: %v", r)
	}
	if d.Final == nil {
		bad("not looked at in the end")
		return
	}
	if d.Final.Trouble != "" {
		bad("in the end: %s", d.Final.Trouble)
	}
	for conv, l := range d.Final.Server.Logs[d.User] {
		from := uint64(1)
		if !d.First { // it began somewhere, and from there on has everything
			from = l.Head.Seq + 1
			for k := range fired {
				if k.conv == conv {
					from = min(from, k.seq)
				}
			}
		}
		for _, e := range l.Entries {
			k := key{conv, e.Seq}
			recalled := e.Status == im.MessageStatus_MESSAGE_STATUS_REVOKED
			if e.Seq >= from && fired[k] == 0 && !mine[text(e.Message)] && !recalled {
				bad("never heard of %s seq %d %q", conv, e.Seq, text(e.Message))
			}
		}
		for _, ch := range l.Changes {
			if d.First && revoked[key{conv, ch.Seq}] == 0 {
				bad("never heard of the recall of %s seq %d", conv, ch.Seq)
			}
		}
	}
}

func entryOf(logs map[string]*Log, k key) *im.Entry {
	l := logs[k.conv]
	if l == nil || k.seq == 0 || k.seq > uint64(len(l.Entries)) {
		return nil
	}
	return l.Entries[k.seq-1]
}

// legal says which network event may follow which. A login or its end begins anew.
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

// Compare answers what is wrong with how a device stood in the end: what it answers and what it was told against the server's log.
func Compare(d *Device) []string { return finalState(d, d.Final, d.records()) }

// finalState compares what a device answers about itself with the server.
func finalState(d *Device, f *Final, rs []Record) (bad []string) {
	fail := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	logs := f.Server.Logs[d.User]
	sum := 0
	sent := map[string]*Send{}
	for _, s := range d.Sends {
		sent[s.Text] = s
	}
	for conv, l := range logs {
		n := recount(d.User, l)
		sum += int(n)
		x := f.Convs[conv]
		if x == nil {
			fail("%s is not in the list", conv)
			continue
		}
		if x.UnreadNum != n {
			fail("%s: says %d unread, counted %d (read up to %d)", conv, x.UnreadNum, n, l.Head.ReadSeq)
		}
		next := l.Head.Seq
		for _, it := range f.History[conv] {
			s := sent[it.Text]
			if it.Seq == 0 {
				if s == nil || s.Conv != conv {
					fail("%s: lists %q, which was never sent from here", conv, it.Text)
				} else if it.Status != im.MessageStatus_MESSAGE_STATUS_FAILED || s.Code == 0 {
					fail("%s: lists %q without a number, status %d, answered %d", conv, it.Text, it.Status, s.Code)
				}
				continue
			}
			if it.Seq != next {
				fail("%s: lists seq %d where %d should be", conv, it.Seq, next)
				break
			}
			e := l.Entries[next-1]
			next--
			want := max(e.Status, im.MessageStatus_MESSAGE_STATUS_SENT)
			if it.Text != text(e.Message) || it.Sender != e.Sender || it.Status != want {
				fail("%s: lists seq %d as %q by %s, status %d; the log has %q by %s, status %d", conv, it.Seq, it.Text, it.Sender, it.Status, text(e.Message), e.Sender, want)
			}
			if it.Read != (e.Sender == d.User || e.Seq <= l.Head.ReadSeq) {
				fail("%s: seq %d is read: %v, and the position %d", conv, it.Seq, it.Read, l.Head.ReadSeq)
			}
			if it.PeerRead != (e.Sender == d.User && e.Seq <= l.Head.PeerReadSeq) {
				fail("%s: seq %d is read by the peer: %v, and the position %d", conv, it.Seq, it.PeerRead, l.Head.PeerReadSeq)
			}
			if s != nil && s.ID != "" && it.ID != s.ID {
				fail("%s: seq %d has the id %s, was sent as %s", conv, it.Seq, it.ID, s.ID)
			}
		}
		if next != 0 {
			fail("%s: lists nothing from seq %d down", conv, next)
		}
		// A failed send that is in the log is shown as sent: with its text listed once.
		seen := map[string]bool{}
		for _, it := range f.History[conv] {
			if seen[it.Text] {
				fail("%s: lists %q twice", conv, it.Text)
			}
			seen[it.Text] = true
		}
	}
	if f.Total != sum {
		fail("total %d, counted %d", f.Total, sum)
	}
	// What was announced is what is.
	info := map[string]string{}
	total := 0
	for _, r := range rs {
		switch r.Kind {
		case Add, Update:
			info[r.Conv] = r.Info
		case Delete:
			delete(info, r.Conv)
		case Total:
			total = r.N
		}
	}
	if total != sum {
		fail("the last total told is %d, counted %d", total, sum)
	}
	for _, conv := range slices.Sorted(maps.Keys(f.Convs)) {
		if x := f.Convs[conv]; info[conv] != encode(x) {
			told := &im.ConvInfo{}
			told.UnmarshalVT([]byte(info[conv]))
			fail("%s is %v, told %v", conv, x, told)
		}
	}
	return bad
}
