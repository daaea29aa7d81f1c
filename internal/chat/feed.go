package chat

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tidings-im/tidings/im"
)

const (
	// The limits of one reply about a feed or relations.
	maxFed, maxFedBytes = 500, 256 << 10
	// presentAtOnce is how many profiles are read in one statement, so that a reply which is full soon has not read all of them.
	presentAtOnce = 100
	// defaultFeedKeep is how many entries a feed keeps.
	defaultFeedKeep = 10_000
	// feedFor is how long an entry is kept, if its feed is cut at all.
	feedFor = 30 * 24 * time.Hour
	// cutEvery is how many entries a feed may have above its limit before it is cut, so that not each entry cuts it.
	cutEvery = 100
)

// feeding is what an Update adds to feeds. Entries of one user are pushed as one frame.
type feeding struct {
	c  *Chat
	tx Tx
	// s is who makes the call; nil for what the server does by itself. at is the number of their feed.
	s  *Caller
	at uint64
	// order are the users of pushes, in the order of their first entries.
	order  []UID
	pushes map[UID]*im.FeedPush
	// flagged are the pairs whose conversation may have other flags now.
	flagged []pair
	// notes are what the app's webhook is notified of.
	notes []noted
	// later, if set, gets the pushes of the caller: the call goes on in another Update, and its reply comes first.
	later *[]news
}

func (c *Chat) feeding(tx Tx, s *Caller) *feeding {
	return &feeding{c: c, tx: tx, s: s, pushes: make(map[UID]*im.FeedPush)}
}

// relate is Update for a call that changes relations or the profile of its caller, and holds the users in keys. It returns when the call was answered: what
// the session calls next, such as a pull of the feed, is answered after that.
func (c *Chat) relate(ctx context.Context, s *Caller, keys []Key, fn func(f *feeding) error) error {
	var told chan struct{}
	err := c.store.Update(ctx, keys, func(tx Tx) error {
		f := c.feeding(tx, s)
		if err := f.hold(keys); err != nil {
			return err
		}
		if err := fn(f); err != nil {
			return err
		}
		done := make(chan struct{})
		told = done
		tx.AfterCommit(func() { close(done) })
		return nil
	})
	if err != nil {
		return err
	}
	select {
	case <-told:
	case <-ctx.Done(): // it is done all the same, and will be answered
	}
	return nil
}

// hold reads the users of an Update, which locks them.
func (f *feeding) hold(keys []Key) error {
	for _, k := range keys {
		u, err := f.tx.User(k.UID)
		if err != nil {
			return err
		}
		if f.s != nil && k.UID == f.s.UID {
			f.at = u.Feed
		}
	}
	return nil
}

// add assigns a number to an entry of a user's feed and stores it. The entry is pushed with the present profile of the person it is about.
func (f *feeding) add(owner UID, about *person, r *im.Relation) error {
	stored, err := f.tx.AddFeed(owner, int32(r.Kind), wire(r))
	if err != nil {
		return err
	}
	r.Ver = stored.Seq
	if f.s != nil && owner == f.s.UID {
		f.at = stored.Seq
	}
	if about != nil && !r.Gone {
		p, err := f.tx.Profile(about.uid)
		if err != nil {
			return err
		}
		f.c.attach(r, about.name, p)
	}
	push := f.pushes[owner]
	if push == nil {
		push = &im.FeedPush{From: stored.Seq}
		f.pushes[owner] = push
		f.order = append(f.order, owner)
	}
	push.Entries = append(push.Entries, r)
	return f.cut(owner, stored.Seq)
}

// cut deletes what a feed has above its limits (rule 24). Not each entry does so.
func (f *feeding) cut(owner UID, seq uint64) error {
	keep := f.c.cfg.FeedKeep
	if seq%min(cutEvery, keep) != 0 {
		return nil
	}
	old, err := f.tx.FeedBefore(owner, f.tx.Now()-feedFor.Milliseconds())
	if err != nil {
		return err
	}
	if upTo := max(old, seq-min(seq, keep)); upTo > 0 {
		return f.tx.CutFeed(owner, upTo)
	}
	return nil
}

// put stores a row of a user about another account and tells the user.
func (f *feeding) put(owner UID, kind im.RelationKind, about person, state *im.RelationState) error {
	r := &im.Relation{Kind: kind, UserId: about.name, State: state}
	if err := f.add(owner, &about, r); err != nil {
		return err
	}
	return f.tx.PutRelation(Relation{UID: owner, Kind: kind, Other: int64(about.uid), Ver: r.Ver, Body: wire(state)})
}

// drop deletes a row of a user about another account and tells the user. quiet means that another callback reports it.
func (f *feeding) drop(owner UID, kind im.RelationKind, about person, quiet bool) error {
	if err := f.tx.DropRelation(owner, kind, int64(about.uid)); err != nil {
		return err
	}
	return f.add(owner, &about, &im.Relation{Kind: kind, UserId: about.name, Gone: true, Quiet: quiet})
}

// state returns a row's state; nil if there is no such row.
func (f *feeding) state(owner UID, kind im.RelationKind, other int64) (*im.RelationState, error) {
	r, err := f.tx.Relation(owner, kind, other)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return f.c.stateOf(&r), nil
}

// stateOf decodes a row. One that cannot be read counts as one with nothing in it, so it can be listed, changed and deleted.
func (c *Chat) stateOf(r *Relation) *im.RelationState {
	s := &im.RelationState{}
	if err := im.Decode(r.Body, s); err != nil {
		c.log.Error("a relation cannot be read", "owner", r.UID, "kind", r.Kind, "other", r.Other, "err", err)
		return &im.RelationState{}
	}
	return s
}

// done registers what happens after the commit: the reply, then the pushes, in this order on every connection. reply is nil if the call goes on.
func (f *feeding) done(reply func()) error {
	for _, p := range f.flagged {
		if err := f.setFlags(p); err != nil {
			return err
		}
	}
	for _, n := range f.notes {
		if err := f.c.notify(f.tx, f.s, n.lane, n.body); err != nil {
			return err
		}
	}
	now := f.tx.Now()
	f.tx.AfterCommit(func() {
		f.c.carrier.Together(func() {
			if reply != nil {
				reply()
			}
			for _, uid := range f.order {
				push := pushFed.to(Audience{Users: []UID{uid}}, f.pushes[uid])
				if f.later != nil && uid == f.s.UID {
					*f.later = append(*f.later, push)
				} else {
					f.c.tell(push)
				}
			}
		})
		f.c.delivering(now)
	})
	return nil
}

// related records that two users have something else with each other than before.
func (f *feeding) related(a, b UID) {
	if p := pairOf(a, b); !slices.Contains(f.flagged, p) {
		f.flagged = append(f.flagged, p)
	}
}

// setFlags makes the flags of the conversation of two users, if there is one, what their relations say, and raises its policy number if they differ.
func (f *feeding) setFlags(p pair) error {
	cv, err := f.tx.FindC2C(p.a, p.b)
	if errors.Is(err, ErrNotFound) {
		return nil // it gets them when it is made
	}
	if err != nil {
		return err
	}
	flags, err := FlagsOf(f.tx.Relation, p.a, p.b)
	if err != nil || flags == cv.Flags {
		return err
	}
	cv.Flags = flags
	cv.Policy++
	return f.tx.PutConv(cv)
}

// FlagsOf returns the flags of the conversation of a and b, a < b, from their rows.
func FlagsOf(relation func(UID, im.RelationKind, int64) (Relation, error), a, b UID) (flags ConvFlags, err error) {
	for _, x := range [...]struct {
		owner, other UID
		kind         im.RelationKind
		flag         ConvFlags
	}{
		{a, b, relBlocked, ABlocksB}, {b, a, relBlocked, BBlocksA}, {a, b, relFriend, AHasB}, {b, a, relFriend, BHasA},
	} {
		switch _, err := relation(x.owner, x.kind, int64(x.other)); {
		case err == nil:
			flags |= x.flag
		case !errors.Is(err, ErrNotFound):
			return 0, err
		}
	}
	return flags, nil
}

// attach puts a person's present profile into an entry.
func (c *Chat) attach(r *im.Relation, name string, p Profile) {
	r.Profile, r.ProfileVer = c.publicProfile(name, p), p.Ver
}

// publicProfile is profileOf without what only operators see.
func (c *Chat) publicProfile(name string, p Profile) *im.UserProfile {
	out := c.profileOf(name, p)
	out.AdminForbidType, out.MsgSettings = "", 0
	return out
}

// profileOf decodes a stored profile.
func (c *Chat) profileOf(name string, p Profile) *im.UserProfile {
	out := &im.UserProfile{}
	if err := im.Decode(p.Body, out); err != nil {
		c.log.Error("a stored profile cannot be read", "user", name, "err", err)
		out = &im.UserProfile{}
	}
	out.Identifier = name
	return out
}

// Feed returns entries of the caller's feed.
func (c *Chat) Feed(ctx context.Context, call Call[*im.FeedReply], req *im.FeedRequest) error {
	s := call.Caller
	if req.From == 0 || req.From > req.To {
		return im.Errorf(im.CodeInvalidParameters, "from %d to %d is no range", req.From, req.To)
	}
	rows, err := c.store.Feed(ctx, s.UID, req.From, req.To, maxFed)
	if err != nil {
		return err
	}
	// After the entries: they may have been cut off before they were read.
	floor, err := c.store.FeedFloor(ctx, s.UID)
	if err != nil {
		return err
	}
	if req.From <= floor {
		call.Reply(&im.FeedReply{Cut: true})
		return nil
	}
	if len(rows) == 0 || rows[0].Seq != req.From {
		return resync("the feed ends before number %d", req.From)
	}
	out := &im.FeedReply{From: req.From, To: req.From - 1}
	size := 0
	for some := range slices.Chunk(rows, presentAtOnce) {
		entries := make([]*im.Relation, len(some)) // nil for one that cannot be read
		for i := range some {
			r := &im.Relation{}
			if err := im.Decode(some[i].Body, r); err != nil {
				c.log.Error("an entry of a feed cannot be read and is left out", "user", s.Name, "number", some[i].Seq, "err", err)
				continue
			}
			r.Ver = some[i].Seq
			entries[i] = r
		}
		if err := c.present(ctx, s, entries...); err != nil {
			return err
		}
		for i, r := range entries {
			if size > maxFedBytes || some[i].Seq != out.To+1 {
				call.Reply(out)
				return nil
			}
			out.To = some[i].Seq
			if r != nil {
				size += r.SizeVT()
				out.Entries = append(out.Entries, r)
			}
		}
	}
	call.Reply(out)
	return nil
}

// present attaches the present profiles of the people that entries are about. An entry may be nil.
func (c *Chat) present(ctx context.Context, s *Caller, entries ...*im.Relation) error {
	about := make([]person, len(entries))
	var uids []UID
	for i, r := range entries {
		if r == nil || r.Gone {
			continue
		}
		name := r.UserId
		if r.Kind == im.RelationKind_RELATION_SELF {
			name = s.Name
		}
		if name == "" {
			continue
		}
		switch who, err := c.person(ctx, name); {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return err
		default:
			about[i] = person{who.uid, name}
			uids = append(uids, who.uid)
		}
	}
	if len(uids) == 0 {
		return nil
	}
	stored, err := c.store.Profiles(ctx, uids)
	if err != nil {
		return err
	}
	profiles := make(map[UID]Profile, len(stored))
	for _, p := range stored {
		profiles[p.UID] = p
	}
	for i, who := range about {
		if who.uid != 0 {
			c.attach(entries[i], who.name, profiles[who.uid])
		}
	}
	return nil
}

// Relations returns a page of all that the caller has with others.
func (c *Chat) Relations(ctx context.Context, call Call[*im.RelationsReply], req *im.RelationsRequest) error {
	s := call.Caller
	u, err := c.store.UserByID(ctx, s.UID) // before the rows: what changes after it is in the feed
	if err != nil {
		return err
	}
	out := &im.RelationsReply{Feed: u.Feed}
	rows, err := c.store.AllRelations(ctx, s.UID, req.AfterKind, int64(req.AfterOther), maxFed)
	if err != nil {
		return err
	}
	size := 0
	if req.AfterKind == 0 && req.AfterOther == 0 {
		self := &im.Relation{Kind: im.RelationKind_RELATION_SELF}
		if err := c.present(ctx, s, self); err != nil {
			return err
		}
		self.Ver = self.ProfileVer
		size = self.SizeVT()
		out.Items = append(out.Items, self)
	}
	for from := 0; from < len(rows); from += presentAtOnce {
		some := rows[from:min(from+presentAtOnce, len(rows))]
		items, err := c.items(ctx, s, some)
		if err == nil {
			err = c.present(ctx, s, items...)
		}
		if err != nil {
			return err
		}
		for i, r := range items {
			if size > maxFedBytes {
				last := rows[from+i-1]
				out.NextKind, out.NextOther = last.Kind, uint64(last.Other)
				call.Reply(out)
				return nil
			}
			if r != nil {
				size += r.SizeVT()
				out.Items = append(out.Items, r)
			}
		}
	}
	if len(rows) == maxFed {
		last := rows[len(rows)-1]
		out.NextKind, out.NextOther = last.Kind, uint64(last.Other)
	}
	call.Reply(out)
	return nil
}

// items returns what rows say, nil for one that cannot be read or is no part of the whole.
func (c *Chat) items(ctx context.Context, s *Caller, rows []Relation) ([]*im.Relation, error) {
	out := make([]*im.Relation, len(rows))
	for i := range rows {
		if rows[i].Kind == im.RelationKind_RELATION_GROUP_REQUESTS_READ {
			continue // it is read with the requests
		}
		r := &im.Relation{Kind: rows[i].Kind, Ver: rows[i].Ver, State: &im.RelationState{}}
		err := im.Decode(rows[i].Body, r.State)
		if err != nil {
			c.log.Error("a relation cannot be read and is left out", "user", s.Name, "kind", r.Kind, "other", rows[i].Other, "err", err)
			continue
		}
		switch r.Kind {
		case im.RelationKind_RELATION_FRIEND_GROUP:
			r.Group = uint64(rows[i].Other)
		case im.RelationKind_RELATION_REQUESTS_READ:
		default:
			if r.UserId, err = c.nameOf(ctx, UID(rows[i].Other)); err != nil {
				return nil, err
			}
		}
		out[i] = r
	}
	return out, nil
}
