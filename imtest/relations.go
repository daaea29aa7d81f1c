package imtest

import "github.com/tidings-im/tidings/internal/server"

// FeedKeep is how many changes of relations are kept per user for devices that are away. A device that missed more loads everything.
func FeedKeep(n int) Option { return func(c *server.Config) { c.Chat.FeedKeep = uint64(n) } }
