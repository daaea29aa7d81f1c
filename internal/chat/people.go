package chat

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tidings-im/tidings/im"
)

// The log stores no names. Whoever tells a message or a conversation attaches what people show of themselves now, once per frame.

// face is what messages show of a person: an im.Person in wire form, nil for somebody who has no profile.
type face struct {
	wire []byte
	ver  uint64
	// at is when it was read.
	at time.Time
}

// faceFor is how long a face is used that another server may have changed.
const faceFor = 10 * time.Second

// faceOf returns the face of an account if it is known, and not too old.
func (c *Chat) faceOf(uid UID) (*face, bool) {
	f, ok := c.faces.get(uid)
	if ok && c.store.Shared() && time.Since(f.at) > faceFor {
		return nil, false
	}
	return f, ok
}

// face is faceOf, and reads what is not known.
func (c *Chat) face(ctx context.Context, uid UID, name string) (*face, error) {
	if f, ok := c.faceOf(uid); ok {
		return f, nil
	}
	p, err := c.store.Profile(ctx, uid)
	if err != nil {
		return nil, err
	}
	return c.show(name, p), nil
}

// meet reads the names of accounts that are not known, all at once: they are found in memory afterwards.
func (c *Chat) meet(ctx context.Context, uids []UID) error {
	strangers := slices.DeleteFunc(slices.Clone(uids), func(uid UID) bool {
		_, known := c.names.get(uid)
		return known || uid == 0
	})
	if len(strangers) == 0 {
		return nil
	}
	users, err := c.store.Users(ctx, strangers)
	for _, u := range users {
		c.know(u)
	}
	return err
}

// see is meet, and the same for faces.
func (c *Chat) see(ctx context.Context, uids []UID) error {
	if err := c.meet(ctx, uids); err != nil {
		return err
	}
	unseen := slices.DeleteFunc(slices.Clone(uids), func(uid UID) bool {
		_, seen := c.faceOf(uid)
		return seen || uid == 0
	})
	if len(unseen) == 0 {
		return nil
	}
	stored, err := c.store.Profiles(ctx, unseen)
	if err != nil {
		return err
	}
	profiles := make(map[UID]Profile, len(stored))
	for _, p := range stored {
		profiles[p.UID] = p
	}
	for _, uid := range unseen {
		name, err := c.nameOf(ctx, uid)
		if err != nil {
			return err
		}
		p := profiles[uid]
		p.UID = uid // also of somebody who has none
		c.show(name, p)
	}
	return nil
}

// show keeps the face that a profile gives, unless a newer one is known.
func (c *Chat) show(name string, p Profile) *face {
	f := &face{ver: p.Ver, at: time.Now()}
	if p.Ver > 0 {
		profile := c.profileOf(name, p)
		f.wire = wire(&im.Person{UserId: name, NickName: profile.NickName, FaceUrl: profile.FaceUrl, Ver: p.Ver})
	}
	c.faces.mu.Lock()
	defer c.faces.mu.Unlock()
	if known := c.faces.m[p.UID]; known != nil && known.ver > f.ver {
		f.wire, f.ver = known.wire, known.ver // not written: others are reading it
	}
	if c.faces.m == nil || len(c.faces.m) >= cacheLimit {
		c.faces.m = make(map[UID]*face)
	}
	c.faces.m[p.UID] = f
	return f
}

// faces are the faces of a frame, each person once, as fields of its body.
type faces struct {
	c    *Chat
	seen map[UID]bool
	body []byte
}

// add appends a person to the frame.
func (f *faces) add(ctx context.Context, uid UID, name string, num protowire.Number) error {
	if uid == 0 || f.seen[uid] {
		return nil
	}
	if f.seen == nil {
		f.seen = make(map[UID]bool)
	}
	f.seen[uid] = true
	face, err := f.c.face(ctx, uid, name)
	if err == nil && face.wire != nil {
		f.body = protowire.AppendTag(f.body, num, protowire.BytesType)
		f.body = protowire.AppendBytes(f.body, face.wire)
	}
	return err
}

// cards returns the name cards of those who sent entries of a group and are members.
func (c *Chat) cards(ctx context.Context, id ConvID, found []entry) ([]*im.NameCard, error) {
	names := make(map[UID]string)
	var uids []UID
	for i := range found {
		if uid := found[i].Sender; uid != 0 && names[uid] == "" {
			names[uid] = found[i].sender
			uids = append(uids, uid)
		}
	}
	if len(uids) == 0 {
		return nil, nil
	}
	rows, err := c.store.MembersOf(ctx, id, uids)
	out := make([]*im.NameCard, len(rows))
	for i := range rows {
		out[i] = &im.NameCard{UserId: names[rows[i].UID], NameCard: rows[i].NameCard, Ver: rows[i].Row}
	}
	return out, err
}

// sizeCard is the size of the sender's im.NameCard as a field of a push, appendCard appends it.
func (s *Standing) sizeCard() int {
	return 1 + protowire.SizeBytes(sizeBytes(len(s.NameCard))+sizeUint(s.Row))
}

func (s *Standing) appendCard(b []byte) []byte {
	b = protowire.AppendTag(b, cardOfPush, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(sizeBytes(len(s.NameCard))+sizeUint(s.Row)))
	return appendUint(appendString(b, 2, s.NameCard), 3, s.Row)
}
