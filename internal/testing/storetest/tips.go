package storetest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// tips: a tip gets its number in the transaction of its cause, between the messages of others, and goes with it if it is undone.
func tips(e *env) {
	a, b := e.user("a"), e.user("b")
	g := e.group("tips", a)
	e.send(g, a)
	undone := fmt.Errorf("undone")
	join := func(fail error) error {
		return e.s.Update(e.ctx, nil, func(tx chat.Tx) error {
			if _, err := tx.Join(g, b); err != nil {
				return err
			}
			st, err := tx.Append(chat.Entry{Conv: g, Body: []byte("b joined")})
			if err != nil {
				return err
			}
			if st.Seq != 2 || st.Index != 1 {
				return fmt.Errorf("the tip is %d, index %d", st.Seq, st.Index)
			}
			return fail
		})
	}
	e.equal("undone", join(undone), undone)
	e.equal("head", e.conv(g).Seq, 1)
	e.ok(join(nil))
	e.send(g, b)
	h := e.head(b, g)
	e.equal("periods", h.Periods, []chat.Period{{From: 1, To: chat.NoEnd, ToRev: chat.NoEnd}})
	e.equal("unread", h.Conv.Index-h.Own-h.Mine.ReadOthers, 0)
	e.restart()
	list, err := e.s.Entries(e.ctx, g, 1, 9, false, 10, 1<<20)
	e.ok(err)
	e.equal("entries", len(list), 3)
	e.equal("tip", []any{list[1].Sender, string(list[1].Body), list[1].Countable, list[1].Index}, []any{chat.UID(0), "b joined", false, uint64(1)})
	e.equal("behind it", []any{list[2].Seq, list[2].Index}, []any{uint64(3), uint64(2)})
	log, err := e.s.Log(e.ctx, 0, 100)
	e.ok(err)
	var seqs []uint64
	for _, l := range log {
		if l.Conv == g {
			seqs = append(seqs, l.Seq)
		}
	}
	e.equal("positions rise with seq", seqs, []uint64{1, 2, 3})
	// Tips of one number in groups that are made at one time have keys of their own: ids of messages are made from them.
	random := map[uint32]bool{}
	for i := range 20 {
		other := e.group(fmt.Sprint("tips", i), a)
		e.ok(e.s.Update(e.ctx, nil, func(tx chat.Tx) error {
			st, err := tx.Append(chat.Entry{Conv: other})
			random[st.Random] = true
			return err
		}))
	}
	e.equal("keys", len(random), 20)
	for _, wrong := range []chat.Entry{{Conv: g, Countable: true}, {Conv: g, Sender: a}, {Conv: e.c2c(a, b).ID}} {
		if err := e.s.Update(e.ctx, nil, func(tx chat.Tx) error { _, err := tx.Append(wrong); return err }); err == nil {
			e.Errorf("%+v was appended as a tip", wrong)
		}
	}
}

// tipsAmongMessages: positions and numbers are in one order, whoever writes, also when a conversation is locked only inside the Update.
func tipsAmongMessages(e *env) {
	a := e.user("a")
	g, other := e.group("busy", a), e.group("other", a)
	const each = 40
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range each {
				if x := e.append(e.entry(g, a)); x.err != nil {
					e.Error(x.err)
				}
			}
		})
	}
	for i := range 2 {
		wg.Go(func() {
			for n := range each {
				keys := []chat.Key{{Conv: g}}
				if (n+i)%2 == 0 {
					keys = []chat.Key{{Conv: other}}
				}
				if err := e.s.Update(e.ctx, keys, func(tx chat.Tx) error {
					_, err := tx.Append(chat.Entry{Conv: g, Body: []byte("tip")})
					return err
				}); err != nil {
					e.Error(err)
				}
			}
		})
	}
	wg.Wait()
	log, err := e.s.Log(e.ctx, 0, 1000)
	e.ok(err)
	var seqs, want []uint64
	for _, l := range log {
		if l.Conv == g {
			seqs = append(seqs, l.Seq)
		}
	}
	for i := range uint64(4 * each) {
		want = append(want, i+1)
	}
	e.equal("numbers in the order of positions", seqs, want)
	c := e.conv(g)
	e.equal("ends", []uint64{c.Seq, c.Index}, []uint64{4 * each, 2 * each})
}

// standing: the store checks what a sender is in the group where the message gets its number.
func standing(e *env) {
	a, b := e.user("a"), e.user("b")
	g := e.group("checked", a, b)
	rules := &chat.SendRules{}
	code := func(uid chat.UID) int32 {
		e.Helper()
		en := e.entry(g, uid)
		en.Rules = rules
		return im.CodeOf(e.append(en).err)
	}
	member := func(uid chat.UID, change func(*chat.Member)) {
		e.Helper()
		e.update(func(tx chat.Tx) error {
			if _, err := tx.Conv(g); err != nil { // whoever changes what a member is holds the group
				return err
			}
			m, err := tx.Member(g, uid)
			if err != nil {
				return err
			}
			change(&m)
			_, err = tx.PutMember(m)
			return err
		})
	}
	group := func(change func(*chat.Conv)) {
		e.Helper()
		e.update(func(tx chat.Tx) error {
			c, err := tx.Conv(g)
			if err != nil {
				return err
			}
			change(&c)
			return tx.PutConv(c)
		})
	}
	e.equal("member", code(b), 0)
	e.equal("stranger", code(e.user("c")), im.CodeNotMember)
	member(b, func(m *chat.Member) { m.MuteUntil = e.s.Now() + time.Hour.Milliseconds() })
	e.equal("muted", code(b), im.CodeMuted)
	undone := fmt.Errorf("undone")
	e.equal("undone", e.s.Update(e.ctx, nil, func(tx chat.Tx) error {
		if _, err := tx.Conv(g); err != nil {
			return err
		}
		m, err := tx.Member(g, b)
		if err != nil {
			return err
		}
		m.MuteUntil = 0
		if _, err = tx.PutMember(m); err != nil {
			return err
		}
		return undone
	}), undone)
	e.equal("still muted", code(b), im.CodeMuted)
	member(b, func(m *chat.Member) { m.MuteUntil = e.s.Now() - 1 })
	e.equal("mute is over", code(b), 0)
	group(func(c *chat.Conv) { c.Flags |= chat.MuteAll })
	e.equal("all are muted", code(b), im.CodeMuted)
	member(a, func(m *chat.Member) { m.Role = chat.RoleAdmin })
	e.equal("but not admins", code(a), 0)
	e.update(func(tx chat.Tx) error { _, err := tx.Leave(g, b); return err })
	e.equal("left", code(b), im.CodeNotMember)
	e.update(func(tx chat.Tx) error { _, err := tx.Join(g, b); return err })
	e.equal("joined again, muted as all", code(b), im.CodeMuted)
	e.restart()
	e.equal("after a restart", []any{code(a), code(b), code(e.user("c"))}, []any{int32(0), im.CodeMuted, im.CodeNotMember})
}

// groupLists: pages of members in the order of joining, whatever joins and leaves; counts, information, attributes, requests.
func groupLists(e *env) {
	var users []chat.UID
	for i := range 12 {
		users = append(users, e.user(fmt.Sprint("u", i)))
	}
	g := e.group("listed", users[:8]...)
	role := func(uid chat.UID, role int32) {
		e.update(func(tx chat.Tx) error {
			m, err := tx.Member(g, uid)
			if err != nil {
				return err
			}
			m.Role, m.NameCard = role, "card"
			_, err = tx.PutMember(m)
			return err
		})
	}
	role(users[2], chat.RoleAdmin)
	role(users[5], chat.RoleOwner)
	var seen []chat.UID
	after := uint64(0)
	for page := 0; ; page++ {
		list, err := e.s.MemberPage(e.ctx, g, after, 0, 3)
		e.ok(err)
		if len(list) == 0 {
			break
		}
		for _, m := range list {
			seen = append(seen, m.UID)
			after = m.Joined
		}
		if page == 0 {
			e.update(func(tx chat.Tx) error {
				for _, uid := range []chat.UID{users[0], users[6]} {
					if _, err := tx.Leave(g, uid); err != nil {
						return err
					}
				}
				for _, uid := range []chat.UID{users[0], users[9]} {
					if _, err := tx.Join(g, uid); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	u := users
	e.equal("members", seen, []chat.UID{u[0], u[1], u[2], u[3], u[4], u[5], u[7], u[0], u[9]})
	e.equal("count", e.conv(g).Members, 8)
	list, err := e.s.MemberPage(e.ctx, g, 0, chat.RoleAdmin, 10)
	e.ok(err)
	e.equal("above ordinary ones", []any{len(list), list[0].UID, list[0].NameCard, list[1].Role}, []any{2, u[2], "card", chat.RoleOwner})
	picked, err := e.s.MembersOf(e.ctx, g, []chat.UID{u[1], u[6], u[11], u[9]})
	e.ok(err)
	uids := []chat.UID{}
	for _, m := range picked {
		uids = append(uids, m.UID)
	}
	slices.Sort(uids)
	e.equal("picked", uids, []chat.UID{u[1], u[9]})

	e.update(func(tx chat.Tx) error {
		if err := tx.PutCustom(g, u[1], []byte("one")); err != nil {
			return err
		}
		if err := tx.PutGroupInfo(chat.GroupInfo{Conv: g, Seq: 2, Body: []byte("info")}); err != nil {
			return err
		}
		for _, x := range []string{"b", "a", "c"} {
			if err := tx.PutAttribute(g, chat.Attribute{Key: x, Value: "old"}); err != nil {
				return err
			}
		}
		if err := tx.PutAttribute(g, chat.Attribute{Key: "b", Value: "new"}); err != nil {
			return err
		}
		c, err := tx.Conv(g)
		if err != nil {
			return err
		}
		c.InfoSeq, c.AttrVer, c.Owner, c.Type = 2, 1, u[5], im.GroupType_GROUP_TYPE_MEETING
		if err := tx.PutConv(c); err != nil {
			return err
		}
		return tx.DropAttribute(g, "c")
	})
	e.restart()
	custom, err := e.s.CustomOf(e.ctx, g, u[:3])
	e.ok(err)
	e.equal("custom", custom, map[chat.UID][]byte{u[1]: []byte("one")})
	info, err := e.s.GroupInfo(e.ctx, g)
	e.ok(err)
	e.equal("info", info, chat.GroupInfo{Conv: g, Seq: 2, Body: []byte("info")})
	ver, attributes, err := e.s.Attributes(e.ctx, g)
	e.ok(err)
	e.equal("attributes", []any{ver, attributes}, []any{uint64(1), []chat.Attribute{{Key: "a", Value: "old"}, {Key: "b", Value: "new"}}})
	c := e.conv(g)
	e.equal("group", []any{c.InfoSeq, c.Owner, c.Type, c.Members}, []any{uint64(2), u[5], im.GroupType_GROUP_TYPE_MEETING, uint64(8)})
	groups, err := e.s.GroupsOf(e.ctx, u[6])
	e.ok(err)
	e.equal("of one who left", len(groups), 0)
	groups, err = e.s.GroupsOf(e.ctx, u[0])
	e.ok(err)
	in, err := e.s.MembersOf(e.ctx, g, u[:1])
	e.ok(err)
	e.equal("groups", groups, []chat.GroupOf{{UID: u[0], Conv: g, MemberSet: c.MemberSet, Type: c.Type, Owner: u[5], JoinedAt: in[0].JoinedAt}})
	e.update(func(tx chat.Tx) error {
		_, err := tx.Append(chat.Entry{Conv: g})
		if err == nil {
			_, err = tx.AddChange(g, chat.Change{Kind: 3})
		}
		if err == nil {
			_, err = tx.Leave(g, u[0])
		}
		if err == nil {
			_, err = tx.Append(chat.Entry{Conv: g})
		}
		if err == nil {
			_, err = tx.Join(g, u[0])
		}
		return err
	})
	groups, err = e.s.GroupsOf(e.ctx, u[0])
	e.ok(err)
	in, err = e.s.MembersOf(e.ctx, g, u[:1])
	e.ok(err)
	e.equal("joined again", groups, []chat.GroupOf{{UID: u[0], Conv: g, MemberSet: c.MemberSet + 2, Type: c.Type, Owner: u[5], JoinedAt: in[0].JoinedAt, Joined: chat.Joined{Seq: 2, Rev: 1, Again: true}}})
	among, err := e.s.InGroup(e.ctx, g, []chat.UID{u[0], u[6]})
	e.ok(err)
	e.equal("of two, one of whom has left", among, groups)

	ask := func(uid chat.UID, invitation bool, at int64) {
		e.update(func(tx chat.Tx) error {
			return tx.PutGroupRequest(chat.GroupRequest{Conv: g, UID: uid, Invitation: invitation, Time: at, Wording: "please"})
		})
	}
	ask(u[10], false, 100)
	ask(u[11], true, 200)
	ask(u[11], false, 300)
	open := func(uid chat.UID, before int64) (out []int64) {
		e.Helper()
		list, err := e.s.GroupRequests(e.ctx, uid, before, 10)
		e.ok(err)
		for _, r := range list {
			out = append(out, r.Time)
		}
		return out
	}
	e.equal("owner's", open(u[5], 1000), []int64{300, 100})
	e.equal("older ones", open(u[2], 300), []int64{100})
	e.equal("the invited one's", open(u[11], 1000), []int64{200})
	e.equal("a member's", len(open(u[1], 1000)), 0)
	n, err := e.s.GroupRequestsSince(e.ctx, u[5], 100)
	e.ok(err)
	e.equal("since", n, 1)
	e.update(func(tx chat.Tx) error {
		r, err := tx.OpenRequest(g, u[11], false)
		if err != nil {
			return err
		}
		r.Handler, r.Accepted, r.Answer = u[5], true, "welcome"
		if err := tx.PutGroupRequest(r); err != nil {
			return err
		}
		again, err := tx.GroupRequest(r.ID)
		if err == nil && again != r {
			err = fmt.Errorf("stored %+v, read %+v", r, again)
		}
		return err
	})
	e.update(func(tx chat.Tx) error {
		if _, err := tx.OpenRequest(g, u[11], false); err != chat.ErrNotFound {
			return fmt.Errorf("an answered request is open: %v", err)
		}
		return nil
	})
	e.equal("answered ones stay", open(u[5], 1000), []int64{300, 100})
	for _, uid := range []chat.UID{u[6], u[8], u[9]} {
		ask(uid, true, 400)
		ask(uid, false, 400)
	}
	page, err := e.s.GroupRequests(e.ctx, u[5], 1000, 2)
	e.ok(err)
	e.equal("a page with all of a time", len(page), 3)
	e.equal("the page behind it", open(u[5], 400), []int64{300, 100})
}

// marks: mentions are in the heads of those who have not read them, and addressees are kept.
func marks(e *env) {
	a, b, c := e.user("a"), e.user("b"), e.user("c")
	g := e.group("marks", a, b, c)
	say := func(sender chat.UID, mentions, to []chat.UID) uint64 {
		en := e.entry(g, sender)
		en.Aim, en.Targeted = &chat.Aim{To: to, Mentions: mentions}, to != nil
		x := e.append(en)
		e.ok(x.err)
		return x.st.Seq
	}
	one := say(a, []chat.UID{b}, nil)
	all := say(a, []chat.UID{0}, nil)
	both := say(c, []chat.UID{0, b, c}, nil)
	targeted := say(a, nil, []chat.UID{c})
	e.equal("b", e.head(b, g).Mentions, []chat.Mention{{Seq: one, UID: b}, {Seq: all}, {Seq: both}, {Seq: both, UID: b}})
	e.equal("c", e.head(c, g).Mentions, []chat.Mention{{Seq: all}})
	e.equal("a", e.head(a, g).Mentions, []chat.Mention{{Seq: both}})
	e.update(func(tx chat.Tx) error {
		st, err := tx.Entry(g, all)
		if err != nil {
			return err
		}
		st.Status, st.Revoker, st.Body = tables.StatusRevoked, a, nil
		if err := tx.SetEntry(st); err != nil {
			return err
		}
		m, err := tx.Member(g, b)
		if err != nil {
			return err
		}
		m.ReadSeq = one
		_, err = tx.PutMember(m)
		return err
	})
	e.restart()
	e.equal("b, later", e.head(b, g).Mentions, []chat.Mention{{Seq: both}, {Seq: both, UID: b}})
	e.equal("c, later", len(e.head(c, g).Mentions), 0)
	for uid, want := range map[chat.UID][]uint64{b: {}, c: {targeted}} {
		got, err := e.s.AddressedTo(e.ctx, uid, g, 1, 10)
		e.ok(err)
		e.equal("addressed", got, want)
	}
	list, err := e.s.Entries(e.ctx, g, targeted, targeted, false, 1, 1<<20)
	e.ok(err)
	e.equal("targeted", list[0].Targeted, true)

	// What is above the number up to which somebody has cleared the group: for b, only what was for c.
	deleted := func(uid chat.UID, from uint64) (back bool) {
		e.Helper()
		e.update(func(tx chat.Tx) error {
			m, err := tx.Member(g, uid)
			if err != nil {
				return err
			}
			m.Hidden, m.ClearedSeq = true, from
			if _, err = tx.PutMember(m); err == nil {
				back, err = tx.Back(g, uid, from)
			}
			return err
		})
		e.equal("in the head", e.head(uid, g).Back, back)
		return back
	}
	for _, x := range []struct {
		uid  chat.UID
		from uint64
		back bool
	}{{b, both - 1, true}, {b, both, false}, {c, both, true}, {c, targeted, false}, {a, both, true}} {
		e.equal(fmt.Sprint("back for ", x.uid, " from ", x.from), deleted(x.uid, x.from), x.back)
	}
	e.update(func(tx chat.Tx) error { _, err := tx.Leave(g, b); return err })
	say(a, nil, nil)
	e.equal("back after the end", deleted(b, both), false)
}

// leftHeads: what goes on in a group that a user has left, or that is dissolved, does not change the user's head.
func leftHeads(e *env) {
	a, b := e.user("a"), e.user("b")
	g := e.group("left", a, b)
	e.send(g, a)
	e.update(func(tx chat.Tx) error { _, err := tx.Leave(g, b); return err })
	since := e.head(b, g).Mine.Changed + 1
	e.clock.move(time.Second)
	for e.send(g, a).Time <= since { // a store with its own clock
	}
	rows, _, err := e.s.Heads(e.ctx, b, since, 0, 10)
	e.ok(err)
	e.equal("heads of b", len(rows), 0)
	rows, _, err = e.s.Heads(e.ctx, a, since, 0, 10)
	e.ok(err)
	e.equal("heads of a", len(rows), 1)
	rows, _, err = e.s.Heads(e.ctx, b, 0, 0, 10)
	e.ok(err)
	e.equal("all of b", rows[0].Periods, []chat.Period{{From: 0, To: 1}})
}

// roomRows: the row of a user in a live room is kept, and makes the room neither a conversation nor a group of theirs.
func roomRows(e *env) {
	a := e.user("a")
	var g chat.Conv
	var row chat.Member
	e.update(func(tx chat.Tx) (err error) {
		if g, err = tx.NewConv(chat.Conv{Kind: chat.KindGroup, Group: "room", Type: im.GroupType_GROUP_TYPE_AVCHATROOM, Owner: a}); err != nil {
			return err
		}
		row, err = tx.PutMember(chat.Member{Conv: g.ID, UID: a, Left: true, Role: chat.RoleMember, MuteUntil: 5000})
		return err
	})
	e.update(func(tx chat.Tx) error {
		m, err := tx.Member(g.ID, a)
		e.equal("row", m, row)
		return err
	})
	rows, _, err := e.s.Heads(e.ctx, a, 0, 0, 10)
	e.ok(err)
	e.equal("heads", len(rows), 0)
	groups, err := e.s.GroupsOf(e.ctx, a)
	e.ok(err)
	e.equal("groups", len(groups), 0)
	cv, err := e.s.Conv(e.ctx, g.ID)
	e.ok(err)
	e.equal("members", cv.Members, uint64(0))
}

// groupNames: one group of an id is alive, also when many are made at once.
func groupNames(e *env) {
	var wg sync.WaitGroup
	made := make(chan chat.ConvID, 20)
	for range 20 {
		wg.Go(func() {
			if err := e.s.Update(e.ctx, nil, func(tx chat.Tx) error {
				c, err := tx.Group("once")
				if err == nil && !c.Dissolved {
					return nil
				}
				c, err = tx.NewConv(chat.Conv{Kind: chat.KindGroup, Group: "once"})
				id := c.ID
				tx.AfterCommit(func() { made <- id })
				return err
			}); err != nil {
				e.Error(err)
			}
		})
	}
	wg.Wait()
	e.ok(e.s.Update(e.ctx, nil, func(tx chat.Tx) error { tx.AfterCommit(func() { close(made) }); return nil }))
	n := 0
	for range made {
		n++
	}
	e.equal("groups", n, 1)
}
