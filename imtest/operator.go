package imtest

import (
	"time"

	"github.com/tidings-im/tidings/internal/server"
)

// Admin is the user whose ticket may call the admin API of every server of this package.
const Admin = "administrator"

// Webhook asks and tells the program at url about messages. token signs what is sent, if it is not empty.
func Webhook(url, token string) Option {
	return func(c *server.Config) { c.Webhook.URL, c.Webhook.Token = url, token }
}

// WebhookDeadline is how long the webhook may take to answer. If refuse is set, a message that it was asked about and gave no
// proper answer is refused; else it is delivered.
func WebhookDeadline(d time.Duration, refuse bool) Option {
	return func(c *server.Config) { c.Webhook.Deadline, c.Webhook.Refuse = d, refuse }
}

// WebhookRetry is how long the first and the longest wait are before the webhook is told of a stored message again.
func WebhookRetry(first, most time.Duration) Option {
	return func(c *server.Config) { c.Webhook.RetryFirst, c.Webhook.RetryMost = first, most }
}
