package chat

import "github.com/tidings-im/tidings/im"

// Class is the class of a platform: a login ends the other sessions of its class, but for ClassAny.
func (c *Chat) Class(p im.Platform) int32 { return c.cfg.Classes[p] }
