package chat

import "github.com/tidings-im/tidings/im"

// Class returns the class of a platform: a login ends the other sessions of its class, except those of ClassAny.
func (c *Chat) Class(p im.Platform) int32 { return c.cfg.Classes[known(p)] }

// known returns the platform itself, or OTHER if it does not exist: an unknown number does not make a class of its own.
func known(p im.Platform) im.Platform {
	if _, ok := im.Platform_name[int32(p)]; !ok {
		return im.Platform_PLATFORM_OTHER
	}
	return p
}
