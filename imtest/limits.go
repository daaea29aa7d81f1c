package imtest

import "github.com/tidings-im/tidings/internal/server"

// Limits limits what clients may do. A zero means the server's default.
type Limits struct {
	// SendRate and CallRate are how many messages and other calls a connection may make per second; the default is no limit.
	SendRate, CallRate int
	// PerUser and PerAddress are how many connections a user and an address may have.
	PerUser, PerAddress int
	// FailuresPerUser is how many bad tickets of a user an address may show per minute.
	FailuresPerUser int
}

// WithLimits starts the server with limits.
func WithLimits(l Limits) Option {
	return func(c *server.Config) {
		g := &c.Gateway
		for to, n := range map[*int]int{&g.SendRate: l.SendRate, &g.CallRate: l.CallRate, &g.PerUser: l.PerUser, &g.PerAddress: l.PerAddress, &g.FailuresPerUser: l.FailuresPerUser} {
			if n != 0 {
				*to = n
			}
		}
	}
}

// Classes puts platforms into classes, such as {"linux": "desktop"}: desktop, mobile, pad, web or any. A login ends the other sessions of its class,
// except those of class any. An unknown name panics.
func Classes(names map[string]string) Option {
	classes, err := server.Classes(names)
	if err != nil {
		panic("imtest: " + err.Error())
	}
	return func(c *server.Config) { c.Chat.Classes = classes }
}
