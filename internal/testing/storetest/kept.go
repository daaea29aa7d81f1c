package storetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// Fill writes at least one row of each table. Databases that older programs have filled in this way are kept in the stores' testdata.
func Fill(t *testing.T, s chat.Store) {
	e := &env{T: t, ctx: t.Context(), s: s}
	alice, bob := e.user("alice"), e.user("bob")
	c, err := s.C2C(e.ctx, alice, bob)
	e.ok(err)
	for i := range 3 {
		fill(e, c, alice, i, fmt.Sprint("a", i))
	}
	fill(e, c, bob, 3, "b3")
	var g chat.Conv
	e.ok(s.Update(e.ctx, nil, func(tx chat.Tx) (err error) {
		if g, err = tx.NewConv(chat.Conv{Kind: chat.KindGroup, Group: "room"}); err != nil {
			return err
		}
		for _, uid := range []chat.UID{alice, bob} {
			if _, err := tx.Join(g.ID, uid); err != nil {
				return err
			}
		}
		g, err = tx.Conv(g.ID)
		return err
	}))
	fill(e, g, alice, 4, "g4")
	fill(e, g, bob, 5, "g5")
	e.ok(s.Update(e.ctx, []chat.Key{{Conv: g.ID}}, func(tx chat.Tx) error {
		_, err := tx.Leave(g.ID, bob)
		return err
	}))
	e.ok(s.Update(e.ctx, []chat.Key{{Conv: c.ID}, {UID: alice}, {UID: bob}}, func(tx chat.Tx) error {
		st, err := tx.Entry(c.ID, 2)
		if err != nil {
			return err
		}
		st.Status, st.Revoker, st.RevokeReason, st.Body = tables.StatusRevoked, alice, "typo", nil
		if err := tx.SetEntry(st); err != nil {
			return err
		}
		if _, err := tx.AddChange(c.ID, chat.Change{Kind: 1, Seq: 2, Operator: alice, Reason: "typo"}); err != nil {
			return err
		}
		if st, err = tx.Entry(c.ID, 3); err != nil {
			return err
		}
		st.Version, st.Body = 1, []byte("a2 modified")
		if err := tx.SetEntry(st); err != nil {
			return err
		}
		if _, err := tx.AddChange(c.ID, chat.Change{Kind: tables.KindModify, Seq: 3, Operator: alice, Version: 1}); err != nil {
			return err
		}
		m, err := tx.Member(c.ID, bob)
		if err != nil {
			return err
		}
		m.Pinned, m.ReadSeq, m.ReadOthers, m.RecvOpt = true, 1, 1, 2
		if _, err := tx.PutMember(m); err != nil {
			return err
		}
		if err := tx.Delete(c.ID, bob, []uint64{1}); err != nil {
			return err
		}
		if _, err := tx.AddFeed(bob, 7, []byte("told")); err != nil {
			return err
		}
		u, err := tx.User(alice)
		if err != nil {
			return err
		}
		u.Generation, u.ValidFrom = 3, 1700000001
		if err := tx.PutUser(u); err != nil {
			return err
		}
		if err := tx.PutSession(chat.Session{UID: alice, Device: "phone", Class: 1, Platform: 2, Generation: 3, LoggedIn: true, Owed: true, At: 5}); err != nil {
			return err
		}
		return tx.PutSent(sentBefore(alice), 0)
	}))
	e.ok(s.StartCursor(e.ctx, "reader", 2))
}

func fill(e *env, c chat.Conv, from chat.UID, n int, body string) {
	e.Helper()
	got := make(chan error, 1)
	e.s.Append(chat.Entry{Conv: c.ID, Sender: from, ClientTime: 1700000000, Random: uint32(n), Body: []byte(body), Hash: 1<<63 + uint64(n), Countable: true},
		func(_ chat.Stored, _ bool, err error) { got <- err })
	e.ok(<-got)
}

// sentBefore has the greatest numbers that its columns can have.
func sentBefore(sender chat.UID) chat.Sent {
	return chat.Sent{Sender: sender, Random: 1<<32 - 1, Seq: 9, ClientTime: 1 << 63, Hash: 1<<63 + 5, At: 6}
}

// Filled checks that all that Fill has written is there, and that the store goes on from it. To be called once.
func Filled(t *testing.T, s chat.Store) {
	e := &env{T: t, ctx: t.Context(), s: s}
	alice, err := s.UserByName(e.ctx, "alice")
	e.ok(err)
	e.equal("alice", alice, chat.User{UID: alice.UID, Name: "alice", Generation: 3, ValidFrom: 1700000001})
	bob, err := s.UserByID(e.ctx, alice.UID+1)
	e.ok(err)
	e.equal("bob", bob, chat.User{UID: alice.UID + 1, Name: "bob", Feed: 1})

	c, err := s.FindC2C(e.ctx, bob.UID, alice.UID)
	e.ok(err)
	e.equal("c2c", c, chat.Conv{
		ID: c.ID, Kind: chat.KindC2C, A: alice.UID, B: bob.UID, Seq: 4, Rev: 2, Time: c.Time, Changed: c.Changed, Index: 4, OwnA: 3, OwnB: 1,
	})
	log, err := s.Entries(e.ctx, c.ID, 1, 10, false, 10, 1<<20)
	e.ok(err)
	want := []chat.Stored{
		{Entry: chat.Entry{Sender: alice.UID, Body: []byte("a0")}, OwnIndex: 1},
		{Entry: chat.Entry{Sender: alice.UID, Body: []byte{}}, OwnIndex: 2, Status: tables.StatusRevoked, Revoker: alice.UID, RevokeReason: "typo"},
		{Entry: chat.Entry{Sender: alice.UID, Body: []byte("a2 modified")}, OwnIndex: 3, Version: 1},
		{Entry: chat.Entry{Sender: bob.UID, Body: []byte("b3")}, OwnIndex: 1},
	}
	e.equal("entries", len(log), len(want))
	for i := range want {
		w := &want[i]
		w.Conv, w.ClientTime, w.Random, w.Hash, w.Countable = c.ID, 1700000000, uint32(i), 1<<63+uint64(i), true
		w.Seq, w.Index, w.Time = uint64(i)+1, uint64(i)+1, log[i].Time
	}
	e.equal("entries", log, want)
	again, err := s.Lookup(e.ctx, chat.SendKey{Conv: c.ID, Sender: bob.UID, ClientTime: 1700000000, Random: 3})
	e.ok(err)
	e.equal("lookup", again, want[3])
	list, err := s.Changes(e.ctx, c.ID, 1, 10, 10, 1<<20)
	e.ok(err)
	e.equal("changes", len(list), 2)
	revoked := want[1]
	revoked.Body = nil
	e.equal("recall", *list[0].Target, revoked)
	e.equal("modification", *list[1].Target, want[2])
	list[0].Target, list[1].Target = nil, nil
	e.equal("changes", list, []chat.Change{
		{Rev: 1, Kind: 1, Seq: 2, Time: list[0].Time, Operator: alice.UID, Reason: "typo"},
		{Rev: 2, Kind: tables.KindModify, Seq: 3, Time: list[0].Time, Operator: alice.UID, Version: 1},
	})
	gone, err := s.Deleted(e.ctx, bob.UID, c.ID, 1, 10)
	e.ok(err)
	e.equal("deleted", gone, []uint64{1})

	g, err := s.Group(e.ctx, "room")
	e.ok(err)
	e.equal("group", g, chat.Conv{ID: g.ID, Kind: chat.KindGroup, Group: "room", Seq: 2, Time: g.Time, Changed: g.Changed, Index: 2, Policy: 3, MemberSet: 3, Members: 1})
	in, err := s.Members(e.ctx, g.ID)
	e.ok(err)
	e.equal("members", len(in), 1)
	e.equal("member", in[0].UID, alice.UID)
	rows, more, err := s.Heads(e.ctx, bob.UID, 0, 0, 10)
	e.ok(err)
	e.equal("heads", []any{len(rows), more}, []any{2, false})
	mine, peer := rows[0].Mine, *rows[0].Peer
	e.equal("mine", mine, chat.Member{Conv: c.ID, UID: bob.UID, Row: 2, Changed: mine.Changed, ReadSeq: 1, ReadOthers: 1, RecvOpt: 2, Pinned: true})
	e.equal("peer", peer, chat.Member{Conv: c.ID, UID: alice.UID, Row: 1, Changed: peer.Changed})
	rows[0].Peer = nil
	e.equal("head", rows[0], chat.HeadRow{Conv: c, Mine: mine, Own: 1, Withdrawn: 1})
	left := rows[1].Mine
	e.equal("left", left, chat.Member{Conv: g.ID, UID: bob.UID, Row: 2, Changed: left.Changed, ReadAt: left.ReadAt, Left: true,
		Role: left.Role, Joined: left.Joined, JoinedAt: left.JoinedAt})
	e.equal("group head", rows[1], chat.HeadRow{Conv: g, Mine: left, Own: 1, Periods: []chat.Period{{From: 0, To: 2}}})

	told, err := s.Feed(e.ctx, bob.UID, 1, 10, 10)
	e.ok(err)
	e.equal("feed", told, []chat.FeedEntry{{Seq: 1, Kind: 7, Body: []byte("told"), Time: list[0].Time}})
	devices, err := s.Sessions(e.ctx, alice.UID)
	e.ok(err)
	e.equal("sessions", devices, []chat.Session{{UID: alice.UID, Device: "phone", Class: 1, Platform: 2, Generation: 3, LoggedIn: true, Owed: true, At: 5}})
	pos, err := s.Cursor(e.ctx, "reader")
	e.ok(err)
	e.equal("cursor", pos, 2)
	all, err := s.Log(e.ctx, 0, 10)
	e.ok(err)
	e.equal("log", len(all), 6)
	end, err := s.LogEnd(e.ctx)
	e.ok(err)
	e.equal("end", end, all[5].Pos)

	e.ok(s.Update(e.ctx, []chat.Key{{Conv: g.ID}, {UID: alice.UID}}, func(tx chat.Tx) error {
		before, err := tx.Sent(alice.UID, 1<<32-1, 9)
		if err != nil {
			return err
		}
		e.equal("sent", before, sentBefore(alice.UID))
		_, err = tx.Join(g.ID, bob.UID)
		return err
	}))
	g, err = s.Conv(e.ctx, g.ID)
	e.ok(err)
	e.equal("joined", []uint64{g.Policy, g.MemberSet}, []uint64{4, 4})
	fill(e, g, bob.UID, 6, "g6")
	fill(e, c, alice.UID, 7, "a7")
	h, err := s.Head(e.ctx, bob.UID, g.ID)
	e.ok(err)
	e.equal("own", h.Own, uint64(2))
	e.equal("periods", h.Periods, []chat.Period{{From: 0, To: 2}, {From: 2, To: chat.NoEnd, ToRev: chat.NoEnd}})
	c, err = s.Conv(e.ctx, c.ID)
	e.ok(err)
	e.equal("ends", []uint64{c.Seq, c.Index, c.OwnA, c.OwnB}, []uint64{5, 5, 4, 1})
	carol, err := s.CreateUser(e.ctx, "carol")
	e.ok(err)
	if carol.UID <= bob.UID {
		t.Errorf("carol is %d, bob %d", carol.UID, bob.UID)
	}
	d, err := s.C2C(context.WithoutCancel(e.ctx), carol.UID, bob.UID)
	e.ok(err)
	if d.ID <= g.ID {
		t.Errorf("the new conversation is %d, the group %d", d.ID, g.ID)
	}
}
