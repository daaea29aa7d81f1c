package chat

import (
	"context"
	"math"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/hook"
	"github.com/tidings-im/tidings/internal/restjson"
)

// What the app's webhook is notified of afterwards, besides messages. It is written to the outbox inside the Update of its cause, if there is a webhook. A
// notification is about the list of one user, in the order of that user's feed (a change of the lists of two is two of them), or about a group, in the order of
// the group's changes.

// noted is a notification of an Update.
type noted struct {
	lane UID
	body hook.Body
}

// noteOf returns the notification of the Update that is about a list, of the type of b; b, if there is none yet.
func noteOf[B hook.Body](f *feeding, owner person, b B) B {
	for _, n := range f.notes {
		if have, ok := n.body.(B); ok && n.lane == owner.uid {
			return have
		}
	}
	f.notes = append(f.notes, noted{owner.uid, b})
	return b
}

// friendAdded notes that owner has got other as a friend. by is the one who asked for it; response means that it was by the answer to a request.
func (f *feeding) friendAdded(owner, other, by person, response bool) {
	b := noteOf(f, owner, &hook.SnsFriendAdd{ClientCmd: "friend_add", ForceFlag: restjson.Flag(f.s.Force)})
	if response {
		b.ClientCmd = "friend_response"
	}
	if f.s.Operator {
		b.Admin_Account = &f.s.Admin
	}
	b.PairList = append(b.PairList, hook.SnsFriendAddPairList{From_Account: owner.name, To_Account: other.name, Initiator_Account: by.name})
}

// friendDeleted notes that owner does not have other as a friend any more.
func (f *feeding) friendDeleted(owner, other person) {
	b := noteOf(f, owner, &hook.SnsFriendDelete{})
	b.PairList = append(b.PairList, hook.SnsFriendDeletePairList{From_Account: owner.name, To_Account: other.name})
}

// blocked notes that owner has blocked other.
func (f *feeding) blocked(owner, other person) {
	b := noteOf(f, owner, &hook.SnsBlackListAdd{})
	b.PairList = append(b.PairList, hook.SnsBlackListAddPairList{From_Account: owner.name, To_Account: other.name})
}

// unblocked notes that owner has unblocked other.
func (f *feeding) unblocked(owner, other person) {
	b := noteOf(f, owner, &hook.SnsBlackListDelete{})
	b.PairList = append(b.PairList, hook.SnsBlackListDeletePairList{From_Account: owner.name, To_Account: other.name})
}

// portraitSet is called inside the Update in which the profile of owner was changed by item.
func (c *Chat) portraitSet(tx Tx, s *Caller, owner person, item *im.UserProfileItem) error {
	b := &hook.ProfilePortraitSet{Operator_Account: s.Name, From_Account: owner.name, EventTime: tx.Now()}
	if s.Operator {
		b.Operator_Account = s.Admin
	}
	for _, t := range restjson.ChangedTags(item) {
		b.ProfileItem = append(b.ProfileItem, hook.ProfilePortraitSetProfileItem{Tag: t.Tag, Value: t.Value})
	}
	return c.notify(tx, s, owner.uid, b)
}

// notify writes a notification to a lane of the outbox. The caller holds the account or the conversation of the lane.
func (c *Chat) notify(tx Tx, s *Caller, lane UID, b hook.Body) error {
	if !c.cfg.Notify {
		return nil
	}
	command := b.Hook()
	body, err := restjson.Marshal(b)
	if err != nil {
		return err
	}
	platform := restjson.Platform(s.Platform)
	if s.Operator {
		platform = restjson.PlatformREST
	}
	tx.AfterCommit(c.wakeOutbox)
	return tx.AddOutbox(Outgoing{Lane: lane, Platform: platform, Addr: s.Addr, Command: command, Body: body})
}

// Outgoing gets a value after something was written to the outbox by this process; values are not counted, and one reader may wait for them.
func (c *Chat) Outgoing() <-chan struct{} { return c.outgoing }

// OutboxLanes is that of Store.
func (c *Chat) OutboxLanes(ctx context.Context, after UID, limit int) ([]UID, error) {
	return c.store.OutboxLanes(ctx, after, limit)
}

// Outbox is that of Store.
func (c *Chat) Outbox(ctx context.Context, lane UID, limit int) ([]Outgoing, error) {
	return c.store.Outbox(ctx, lane, limit)
}

// LaneOf is the lane of the outbox that is a conversation's: below those of accounts. ConvOf is the other way; 0 if it is the lane of an account.
func LaneOf(conv ConvID) UID { return UID(-conv) }

func ConvOf(lane UID) ConvID { return ConvID(max(-lane, 0)) }

// keyOf names the row that whoever writes to a lane holds.
func keyOf(lane UID) Key {
	if conv := ConvOf(lane); conv != 0 {
		return Key{Conv: conv}
	}
	return Key{UID: lane}
}

// FirstLane is what all lanes are above.
const FirstLane = UID(math.MinInt64)

// PutOutbox writes notifications to the lane of a conversation, in their order.
func (c *Chat) PutOutbox(ctx context.Context, conv ConvID, command string, bodies [][]byte) error {
	return c.store.Update(ctx, []Key{{Conv: conv}}, func(tx Tx) error {
		for _, body := range bodies {
			if err := tx.AddOutbox(Outgoing{Lane: LaneOf(conv), Command: command, Body: body}); err != nil {
				return err
			}
		}
		tx.AfterCommit(c.wakeOutbox)
		return nil
	})
}

// OutboxSize is that of Store, for the lane of a conversation.
func (c *Chat) OutboxSize(ctx context.Context, conv ConvID) (int, error) {
	return c.store.OutboxSize(ctx, LaneOf(conv))
}

func (c *Chat) wakeOutbox() {
	select {
	case c.outgoing <- struct{}{}:
	default:
	}
}

// OutboxOld is that of Store.
func (c *Chat) OutboxOld(ctx context.Context, before int64, limit int) ([]Outgoing, error) {
	return c.store.OutboxOld(ctx, before, limit)
}

// DropOutbox deletes what was received.
func (c *Chat) DropOutbox(ctx context.Context, ids []int64) error {
	return c.store.Update(ctx, nil, func(tx Tx) error { return tx.DropOutbox(ids) })
}

// Now returns the store's time, in milliseconds since 1970.
func (c *Chat) Now() int64 { return c.store.Now() }
