package imtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tidings-im/tidings/internal/server"
)

// Admin is the user whose ticket may call the admin API of every server of this package.
const Admin = "administrator"

// Webhook asks the program at url about messages and notifies it of them. token signs the requests, if it is not empty.
func Webhook(url, token string) Option {
	return func(c *server.Config) { c.Webhook.URL, c.Webhook.Token = url, token }
}

// WebhookDeadline is how long the webhook may take to respond. If refuse is set, a message that it was asked about without a proper response is
// refused; otherwise it is delivered.
func WebhookDeadline(d time.Duration, refuse bool) Option {
	return func(c *server.Config) { c.Webhook.Deadline, c.Webhook.Refuse = d, refuse }
}

// WebhookRetry is how long the first and the longest pause are before the webhook is notified of a stored message again.
func WebhookRetry(first, most time.Duration) Option {
	return func(c *server.Config) { c.Webhook.RetryFirst, c.Webhook.RetryMost = first, most }
}

// Operate calls a command of the admin API, such as "openim/sendmsg", with a JSON body, and returns the JSON of the response. A command that fails
// ends the test.
func (s *Server) Operate(command, body string) string {
	s.t.Helper()
	u := fmt.Sprintf("http%s/v4/%s?sdkappid=%d&identifier=%s&usersig=%s", strings.TrimPrefix(s.URL, "ws"), command, s.AppID, Admin, url.QueryEscape(s.Sig(Admin)))
	resp, err := http.Post(u, "application/json", strings.NewReader(body))
	if err != nil {
		s.t.Fatalf("imtest: %s: no answer", command) // the error contains the ticket
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	b, err := io.ReadAll(resp.Body)
	var answer struct{ ErrorCode int }
	if err != nil || json.Unmarshal(b, &answer) != nil || answer.ErrorCode != 0 {
		s.t.Fatalf("imtest: %s: %s %s", command, resp.Status, b)
	}
	return string(b)
}

// Kick ends all sessions of a user, and makes all tickets void that were signed for them so far.
func (s *Server) Kick(user string) {
	s.t.Helper()
	body, err := json.Marshal(map[string]string{"UserID": user})
	if err != nil {
		s.t.Fatalf("imtest: %v", err)
	}
	s.Operate("im_open_login_svc/kick", string(body))
}
