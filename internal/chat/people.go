package chat

import (
	"context"
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
