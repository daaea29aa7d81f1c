package chat

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidings-im/tidings/im"
)

// Limits of the attributes of a group.
const (
	maxAttributes     = 16
	maxAttributeKey   = 32
	maxAttributeValue = 4096
	maxAttributeBytes = 16 << 10
)

// Attributes returns all attributes of a group.
func (c *Chat) Attributes(ctx context.Context, call Call[*im.AttributesReply], req *im.GroupRequest) error {
	cv, err := c.groupOfMember(ctx, call.Caller, req)
	if err != nil {
		return err
	}
	ver, list, err := c.store.Attributes(ctx, cv.ID)
	if err != nil {
		return err
	}
	reply := &im.AttributesReply{}
	attributesIn(reply, cv.ID, ver, list)
	call.Reply(reply)
	return nil
}

// attributesIn makes a reply one with these attributes.
func attributesIn(reply *im.AttributesReply, id ConvID, ver uint64, list []Attribute) {
	reply.Epoch, reply.Ver, reply.Attributes = uint64(id), ver, nil
	for _, a := range list {
		reply.Attributes = append(reply.Attributes, &im.GroupAttributes{Key: a.Key, Value: a.Value})
	}
}

// SetAttributes changes attributes. The caller names the version that they have read: if there is another, nothing is changed. What changes nothing makes no
// version.
func (c *Chat) SetAttributes(ctx context.Context, call Call[*im.AttributesReply], req *im.SetAttributesRequest) error {
	if err := checkAttributes(req); err != nil {
		return err
	}
	reply := &im.AttributesReply{}
	counted := false // an Update may run again
	return c.inGroup(ctx, call.Caller, req.Group, func(g *groupUpdate) error {
		if g.me.Left && !g.s.Operator {
			return errNotMember
		}
		if !g.typ.attributes {
			return im.Errorf(im.CodeNotMember, "groups of type %s have no attributes", g.typ.name)
		}
		old, err := g.tx.Attributes(g.cv.ID)
		if err != nil {
			return err
		}
		if !counted && !c.writes.take(g.s.UID, g.cv.ID, c.cfg.AttributeWrites, c.cfg.Clock()) {
			return im.Errorf(im.CodeAttributesTooFast, "more than %d writes of attributes a second", c.cfg.AttributeWrites)
		}
		counted = true
		if req.Ver != g.cv.AttrVer {
			return im.Errorf(im.CodeAttributesConflict, "the attributes have version %d, not %d", g.cv.AttrVer, req.Ver)
		}
		want, err := changed(old, req)
		if err != nil {
			return err
		}
		if !slices.Equal(old, want) {
			if err := g.setAttributes(old, want); err != nil {
				return err
			}
			g.noteAttributes(req)
		}
		attributesIn(reply, g.cv.ID, g.cv.AttrVer, want)
		return nil
	}, call.with(reply))
}

// writes counts what users write to groups, in seconds. When it is full it forgets: it protects the store, and is no account of anybody.
type writes struct {
	mu sync.Mutex
	m  map[writer]written
}

type writer struct {
	uid  UID
	conv ConvID
}

type written struct {
	since time.Time
	n     int
}

// take reports whether a user may write to a group once more; 0 is no limit.
func (w *writes) take(uid UID, id ConvID, most int, now time.Time) bool {
	if most <= 0 {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.m == nil || len(w.m) >= cacheLimit {
		w.m = make(map[writer]written)
	}
	k := writer{uid, id}
	x := w.m[k]
	if passed := now.Sub(x.since); passed < 0 || passed >= time.Second {
		x = written{since: now}
	}
	x.n++
	w.m[k] = x
	return x.n <= most
}

// setAttributes stores what differs, and tells the group that there is another version.
func (g *groupUpdate) setAttributes(old, want []Attribute) error {
	for _, a := range old {
		if !slices.ContainsFunc(want, func(b Attribute) bool { return a.Key == b.Key }) {
			if err := g.tx.DropAttribute(g.cv.ID, a.Key); err != nil {
				return err
			}
		}
	}
	for _, a := range want {
		if !slices.Contains(old, a) {
			if err := g.tx.PutAttribute(g.cv.ID, a); err != nil {
				return err
			}
		}
	}
	g.cv.AttrVer++
	if err := g.put(); err != nil {
		return err
	}
	return g.changed(Change{Kind: int32(im.ChangeKind_CHANGE_ATTRIBUTES), Version: g.cv.AttrVer}, nil)
}

// changed adds a change that is not about a message, and tells the members.
func (g *groupUpdate) changed(ch Change, report *im.GroupReportElem) error {
	if g.typ.live {
		g.changedLive(ch, report)
		return nil
	}
	ch.Operator = g.s.UID
	if report != nil {
		ch.Body = wire(report)
	}
	row, err := g.tx.AddChange(g.cv.ID, ch)
	if err != nil {
		return err
	}
	out := changeOf(&row, g.s.Name, "")
	out.Version, out.Report = row.Version, report
	g.first = append(g.first, pushChange.to(Audience{Group: g.cv.ID, Rev: row.Rev, MemberSet: g.cv.MemberSet}, &im.ChangePush{
		Conv: groupKeyOf(g.cv.Group), Epoch: uint64(g.cv.ID), Change: out,
	}))
	return g.reread()
}

func checkAttributes(req *im.SetAttributesRequest) error {
	if req.Action < im.AttributesAction_ATTRIBUTES_INIT || req.Action > im.AttributesAction_ATTRIBUTES_DELETE {
		return im.Errorf(im.CodeGroupParameters, "action %d is none", req.Action)
	}
	seen := make(map[string]bool, len(req.Attributes))
	for _, a := range req.Attributes {
		switch {
		case a.Key == "" || len(a.Key) > maxAttributeKey || !plainText(a.Key):
			return im.Errorf(im.CodeGroupParameters, "group_attribute_key is not UTF-8 of 1 to %d bytes", maxAttributeKey)
		case len(a.Value) > maxAttributeValue || !plainText(a.Value):
			return im.Errorf(im.CodeGroupParameters, "group_attribute_value is not UTF-8 of up to %d bytes", maxAttributeValue)
		case seen[a.Key]:
			return im.Errorf(im.CodeGroupParameters, "group_attribute_key %q is there twice", a.Key)
		}
		seen[a.Key] = true
	}
	if len(req.Attributes) == 0 && req.Action == im.AttributesAction_ATTRIBUTES_SET {
		return im.Errorf(im.CodeGroupParameters, "there are no attributes to set")
	}
	return nil
}

// changed returns the attributes after a call, ordered by key.
func changed(old []Attribute, req *im.SetAttributesRequest) ([]Attribute, error) {
	want := slices.Clone(old)
	switch {
	case req.Action == im.AttributesAction_ATTRIBUTES_INIT, req.Action == im.AttributesAction_ATTRIBUTES_DELETE && len(req.Attributes) == 0:
		want = nil
	}
	for _, a := range req.Attributes {
		i, found := slices.BinarySearchFunc(want, a.Key, func(x Attribute, key string) int { return strings.Compare(x.Key, key) })
		switch {
		case req.Action == im.AttributesAction_ATTRIBUTES_DELETE && !found:
			return nil, im.Errorf(im.CodeNoAttribute, "there is no attribute %q", a.Key)
		case req.Action == im.AttributesAction_ATTRIBUTES_DELETE:
			want = slices.Delete(want, i, i+1)
		case found:
			want[i].Value = a.Value
		default:
			want = slices.Insert(want, i, Attribute{Key: a.Key, Value: a.Value})
		}
	}
	sum := 0
	for _, a := range want {
		sum += len(a.Key) + len(a.Value)
	}
	if len(want) > maxAttributes || sum > maxAttributeBytes {
		return nil, im.Errorf(im.CodeGroupParameters, "a group has at most %d attributes of %d bytes in all", maxAttributes, maxAttributeBytes)
	}
	return want, nil
}
