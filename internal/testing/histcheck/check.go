package histcheck

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/tidings-im/tidings/im"
)

// Check returns what is wrong with a history; nothing if it is correct.
func Check(h *History) []string {
	c := &checker{h: h}
	c.bad = append(c.bad, h.Violations...)
	if h.Server == nil {
		c.fail("the server was not read at the end")
		return c.bad
	}
	c.model = newModel(h)
	c.bad = append(c.bad, c.model.clash...)
	c.logs()
	c.settings()
	c.contents()
	for _, d := range h.everybody() {
		c.sendsOf(d)
	}
	for _, d := range h.Devices {
		c.device(d)
	}
	return c.bad
}

// Compare returns what is wrong with the final state of a device: what it returns and what it was notified of, compared with the server's log.
func Compare(h *History, d *Device) []string {
	return newModel(h).finalState(d, d.Final, d.records())
}

type checker struct {
	h     *History
	model *model
	bad   []string
	// logged is where in the log the sent messages are.
	logged map[*Send]*im.Entry
	made   map[string]*op // modifications by their text
}

func (c *checker) fail(format string, args ...any) {
	c.bad = append(c.bad, fmt.Sprintf(format, args...))
}

// logs checks what the server has: without gaps, in the order of time, counted correctly, the same for both users, with a known origin, and with
// nothing missing that the user who looks has not cleared or deleted.
func (c *checker) logs() {
	c.logged = map[*Send]*im.Entry{}
	for _, user := range c.h.Users {
		for _, conv := range sortedKeys(c.h.Server.Logs[user]) {
			l := c.h.Server.Logs[user][conv]
			where := user + " with " + conv
			c.view(where, user, conv, l)
			c.absent(where, user, conv, l)
			for i, ch := range l.Changes {
				if ch.Rev != uint64(i+1) {
					c.fail("%s: change %d has rev %d", where, i+1, ch.Rev)
				}
			}
			if uint64(len(l.Changes)) != l.Head.Rev {
				c.fail("%s: %d changes, head %d", where, len(l.Changes), l.Head.Rev)
			}
			if n, ok := c.model.unread(user, conv, l); ok && n != l.Head.Unread {
				c.fail("%s: the server says %d unread, counted %d", where, l.Head.Unread, n)
			}
			if l.Head.ReadSeq < l.Head.ClearedSeq {
				c.fail("%s: cleared up to %d and read up to %d", where, l.Head.ClearedSeq, l.Head.ReadSeq)
			}
			peer := c.h.Server.Logs[conv][user]
			if peer == nil {
				c.fail("%s: %s does not have it", where, conv)
				continue
			}
			if conv == user {
				continue
			}
			if peer.Head.ReadSeq != l.Head.PeerReadSeq {
				c.fail("%s: the peer has read up to %d, and %d is told", where, peer.Head.ReadSeq, l.Head.PeerReadSeq)
			}
			theirs := map[uint64]*im.Entry{}
			for _, e := range peer.Entries {
				theirs[e.Seq] = e
			}
			for _, e := range l.Entries {
				if o := theirs[e.Seq]; o != nil && string(encode(o)) != string(encode(e)) || peer.Head.Seq != l.Head.Seq || peer.Head.Rev != l.Head.Rev {
					c.fail("%s: the two have different logs", where)
					break
				}
			}
		}
	}
	// Each entry once: an entry in two views is one entry.
	places := slices.SortedFunc(maps.Keys(c.model.full), func(a, b place) int { return cmp.Or(cmp.Compare(a.pair, b.pair), cmp.Compare(a.seq, b.seq)) })
	for _, k := range places {
		e := c.model.full[k]
		s := c.model.sendAt(k, e)
		if s == nil {
			continue
		}
		if o := c.logged[s]; o != nil {
			c.fail("%s: %q stands at seq %d and at %d", k.pair, s.Tag, o.Seq, e.Seq)
		}
		c.logged[s] = e
	}
}

// view checks the entries that a user sees.
func (c *checker) view(where, user, conv string, l *Log) {
	var before *im.Entry
	for _, e := range l.Entries {
		if before != nil && (e.Seq <= before.Seq || e.Time < before.Time) {
			c.fail("%s: seq %d at %d is after seq %d: order or time runs back", where, e.Seq, e.Time, before.Seq)
		}
		before = e
		if last := c.model.full[place{pairOf(user, conv), e.Seq - 1}]; e.Seq == 1 || last != nil {
			index, own, known := uint64(0), uint64(0), true
			if last != nil {
				index = last.Index
				own, known = c.ownBefore(user, conv, e)
			}
			if e.Countable {
				index, own = index+1, own+1
			}
			if e.Index != index || known && e.OwnIndex != own {
				c.fail("%s: seq %d has index %d, own %d; counted %d, %d", where, e.Seq, e.Index, e.OwnIndex, index, own)
			}
		}
		tag := e.Message.GetCloudCustomStr()
		s := c.model.sendOf(user, conv, e)
		switch {
		case s == nil:
			c.fail("%s: seq %d, %q, comes from nowhere", where, e.Seq, tag)
		case e.Countable == s.Uncounted:
			c.fail("%s: seq %d, %q, counts: %v", where, e.Seq, tag, e.Countable)
		case s.Online:
			c.fail("%s: seq %d, %q, was for whoever was online", where, e.Seq, tag)
		case c.h.Hooked && (s.Verdict == Refuse || s.Verdict == Drop):
			c.fail("%s: seq %d, %q, was refused or dropped by the webhook", where, e.Seq, tag)
		}
	}
}

// ownBefore is the running number of its sender's countable messages before an entry, if it is known.
func (c *checker) ownBefore(user, conv string, e *im.Entry) (n uint64, ok bool) {
	for seq := e.Seq - 1; seq > 0; seq-- {
		o := c.model.full[place{pairOf(user, conv), seq}]
		if o == nil {
			return 0, false
		}
		if o.Sender == e.Sender {
			return o.OwnIndex, true
		}
	}
	return 0, true
}

// absent checks that a user lacks only what they have cleared or deleted, and does lack that.
func (c *checker) absent(where, user, conv string, l *Log) {
	deletes := c.model.attempts(user, conv, "delete")
	clears := c.model.attempts(user, conv, "clear", "deleteconv")
	present := map[uint64]bool{}
	for _, e := range l.Entries {
		present[e.Seq] = true
		if e.Seq <= l.Head.ClearedSeq {
			c.fail("%s: seq %d was cleared and is there", where, e.Seq)
		}
	}
	if l.Head.ClearedSeq > 0 && len(clears) == 0 {
		c.fail("%s: cleared up to %d by nobody", where, l.Head.ClearedSeq)
	}
	for seq := uint64(1); seq <= l.Head.Seq; seq++ {
		var by *op
		sure := false
		for _, o := range deletes {
			if slices.Contains(o.call.Seqs, seq) {
				by, sure = o, sure || o.sure()
			}
		}
		switch {
		case present[seq] && sure:
			c.fail("%s: seq %d was deleted, and is there", where, seq)
		case !present[seq] && seq > l.Head.ClearedSeq && by == nil:
			c.fail("%s: seq %d is missing", where, seq)
		}
		if e := c.model.full[place{pairOf(user, conv), seq}]; seq <= l.Head.ClearedSeq && e != nil {
			// Cleared is what was there when a user cleared, and nothing that was sent later.
			if s := c.model.sendOf(user, conv, e); s != nil && !slices.ContainsFunc(clears, func(o *op) bool { return o.end > s.At }) {
				c.fail("%s: seq %d, %q, was sent after the last time that something was cleared, and is cleared", where, seq, s.Tag)
			}
		}
	}
}

// sendAt finds the send of an entry by its place.
func (m *model) sendAt(k place, e *im.Entry) *Send {
	for user, logs := range m.audit.Logs {
		for conv := range logs {
			if pairOf(user, conv) == k.pair && user == e.Sender {
				return m.sendOf(user, conv, e)
			}
		}
	}
	return nil
}

// settings checks that pins and receive options are what was set last.
func (c *checker) settings() {
	for _, user := range c.h.Users {
		for _, conv := range sortedKeys(c.h.Server.Logs[user]) {
			l := c.h.Server.Logs[user][conv]
			value := func(o *op) int {
				if o.call.Op == "deleteconv" {
					return 0
				}
				return o.call.N
			}
			pinned := 0
			if l.Head.Pinned {
				pinned = 1
			}
			if !couldBe(c.model.attempts(user, conv, "pin", "deleteconv"), value, 0, pinned) {
				c.fail("%s with %s: pinned is %d, and was set to something else", user, conv, pinned)
			}
			if !couldBe(c.model.attempts(user, conv, "recvopt"), value, 0, int(l.Head.RecvOpt)) {
				c.fail("%s with %s: the receive option is %d, and was set to something else", user, conv, l.Head.RecvOpt)
			}
		}
	}
}

// contents checks that every content of every message comes from its sender, the webhook, or a modification, and that those that were acknowledged
// are included.
func (c *checker) contents() {
	made := map[string]*op{}
	c.made = made
	for _, o := range c.model.ops {
		if o.call.Op == "modify" {
			made[o.call.Text] = o
			if c.model.verdict(o) == Rewrite {
				made[rewritten(o.call.Text)] = o
			}
		}
	}
	for k, texts := range c.model.texts {
		for version, t := range texts {
			if version == 0 {
				if e := c.model.full[k]; e != nil {
					if s := c.model.sendAt(k, e); s != nil && t.text != c.model.firstText(s) && s.Verdict != Late {
						c.fail("%s %d: was first %q to %s; sent was %q", k.pair, k.seq, t.text, t.where, s.Tag)
					}
				}
				continue
			}
			o := made[t.text]
			switch {
			case o == nil:
				c.fail("%s %d: %q, version %d to %s, comes from nowhere", k.pair, k.seq, t.text, version, t.where)
			case c.model.verdict(o) == Drop:
				c.fail("%s %d: %q, version %d to %s, was dropped by the webhook", k.pair, k.seq, t.text, version, t.where)
			case c.model.verdict(o) == Rewrite && t.text == o.call.Text:
				c.fail("%s %d: %q, version %d to %s, was rewritten by the webhook", k.pair, k.seq, t.text, version, t.where)
			case o.code == im.CodeModifyConflict && c.model.verdict(o) == Rewrite: // what was repeated is not known to be what was rewritten
			case o.code == im.CodeModifyConflict && o.ret.Version <= version:
				c.fail("%s %d: %q, version %d to %s, was a conflict", k.pair, k.seq, t.text, version, t.where)
			case o.never() && o.code != im.CodeModifyConflict:
				c.fail("%s %d: %q, version %d to %s, was refused with %d", k.pair, k.seq, t.text, version, t.where, o.code)
			case o.call.Seq != k.seq:
				c.fail("%s %d: %q, version %d to %s, was for %d", k.pair, k.seq, t.text, version, t.where, o.call.Seq)
			}
		}
	}
	// The versions of a message are its modifications.
	for user, logs := range c.h.Server.Logs {
		for conv, l := range logs {
			n := map[uint64]uint64{}
			for _, ch := range l.Changes {
				if ch.Kind == im.ChangeKind_CHANGE_MODIFY {
					n[ch.Seq]++
				}
			}
			for _, e := range l.Entries {
				if e.Version != n[e.Seq] {
					c.fail("%s with %s: seq %d has version %d and %d modifications", user, conv, e.Seq, e.Version, n[e.Seq])
				}
			}
			for _, o := range c.model.ops {
				if o.call.Op != "modify" || o.code != 0 || o.d.User != user || o.call.Conv != conv || o.ret.ID == "" {
					continue
				}
				if o.ret.ID == o.call.Text && c.model.verdict(o) != Drop && (o.ret.Version != uint64(o.call.N)+1 || n[o.call.Seq] < o.ret.Version) {
					c.fail("%s: %q was acknowledged as version %d after %d; the log has %d", o.d.Name, o.call.Text, o.ret.Version, o.call.N, n[o.call.Seq])
				}
			}
		}
	}
}

// sendsOf checks that what was acknowledged is stored, once, where it was said to be, in the order of the calls; what failed is stored at most once.
func (c *checker) sendsOf(d *Device) {
	died := map[int]bool{}
	for _, r := range d.records() {
		if r.Kind == Died {
			died[r.Run] = true
		}
	}
	last := map[string]uint64{}
	run := 0
	for _, s := range d.Sends {
		if s.Run != run {
			run = s.Run
			clear(last)
		}
		if s.Answers != 1 && !(s.Answers == 0 && died[s.Run]) {
			c.fail("%s: %q was answered %d times", d.Name, s.Tag, s.Answers)
			continue
		}
		e := c.logged[s]
		lost := c.lost(s)
		switch {
		case s.Code == 0 && (s.Online || c.h.Hooked && s.Verdict == Drop):
			if s.Seq != 0 {
				c.fail("%s: %q has no place in the log, and was acknowledged with seq %d", d.Name, s.Tag, s.Seq)
			}
		case s.Code == 0 && c.h.Hooked && s.Verdict == Refuse:
			c.fail("%s: %q was refused by the webhook, and acknowledged", d.Name, s.Tag)
		case s.Code == 0 && s.Seq == 0:
			c.fail("%s: %q was acknowledged without a number", d.Name, s.Tag)
		case s.Code == 0 && e == nil && !lost:
			c.fail("%s: %q was acknowledged with seq %d and is nowhere", d.Name, s.Tag, s.Seq)
		case s.Code == 0:
			if e != nil && e.Seq != s.Seq {
				c.fail("%s: %q was acknowledged with seq %d and has %d", d.Name, s.Tag, s.Seq, e.Seq)
			}
			if d.User != "" && s.Seq <= last[s.Conv] {
				c.fail("%s: %q to %s has seq %d after %d", d.Name, s.Tag, s.Conv, s.Seq, last[s.Conv])
			}
			last[s.Conv] = s.Seq
		case s.Code == im.CodeDisconnected && e != nil:
			c.fail("%s: %q was refused for want of a link and was sent", d.Name, s.Tag)
		case s.Code == refused && c.h.Hooked && s.Verdict == Refuse:
		case s.Code == codeKilled && died[s.Run]:
		case d.User == "" && s.Code == codeNone: // the operator's connection broke
		case s.Code != im.CodeDisconnected && s.Code != im.CodeWaitAckTimeout && s.Code != im.CodeNoNetworkTimeout && s.Code != im.CodeInterrupted &&
			s.Code != im.CodeNotLoggedIn && s.Code != im.CodeTooManyRequests:
			c.fail("%s: %q failed with %d", d.Name, s.Tag, s.Code)
		}
	}
}

// lost reports whether both people may have cleared or deleted a message, so that neither shows it any more.
func (c *checker) lost(s *Send) bool {
	for _, v := range []owned{{s.User, s.Conv}, {s.Conv, s.User}} {
		l := c.h.Server.Logs[v.user][v.conv]
		if l == nil || s.Seq <= l.Head.ClearedSeq {
			continue
		}
		if !slices.ContainsFunc(c.model.attempts(v.user, v.conv, "delete"), func(o *op) bool { return slices.Contains(o.call.Seqs, s.Seq) }) {
			return false
		}
	}
	return true
}
