package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/media"
)

// Settings are the settings of a server, each a flag (--app-id), an environment variable (TIDINGS_APP_ID) and a key of the settings file (app-id).
// The tags describe a key completely: the command line, the reading of the file and the reference page are made from them. A key with reload may
// change while the server runs: SIGHUP reads the file again.
type Settings struct {
	Listen    string        `key:"listen" group:"Server" default:"127.0.0.1:7070" help:"address to listen on"`
	PublicURL string        `key:"public-url" help:"http or https address at which the program of webhook-url reaches this server, such as https://im.example; URLs of files in webhooks begin with it; default: the address of listen"`
	Data      string        `key:"data" default:"./tidings-data" help:"data folder"`
	AppID     uint64        `key:"app-id" default:"1400000000" help:"SDKAppID of clients and tickets"`
	SecretKey string        `key:"secret-key" help:"key that signs tickets (default: created by the first start and kept in the data folder)"`
	Drain     time.Duration `key:"drain" default:"5s" help:"how long to wait for clients when stopping"`
	LogLevel  string        `key:"log-level" default:"info" reload:"true" help:"debug, info, warn or error"`
	Profile   string        `key:"cpu-profile" hidden:"true" help:"write a CPU profile to this file"`

	TLSCert string `key:"tls-cert" group:"TLS" reload:"true" help:"file with the certificate chain, PEM; with tls-key, clients connect to wss://"`
	TLSKey  string `key:"tls-key" reload:"true" help:"file with the private key of tls-cert, PEM"`

	RevokeWindow  time.Duration     `key:"revoke-window" group:"Rules" default:"2m" help:"how long a message may be recalled"`
	Modifications int               `key:"max-modifications" default:"1000" help:"how often one message may be modified; further modifications are refused with 7008, by the admin API with 60007"`
	Strangers     string            `key:"strangers" default:"allow" help:"messages between users who are not each other's friends: allow, or refuse with 20009, 20010 or 20011"`
	BlockedSend   string            `key:"blocked-send" default:"pretend" help:"what a user gets whose message the receiver's blacklist stops: success (pretend) or code 20007 (refuse)"`
	BlockedFriend string            `key:"blocked-friend" default:"end" help:"the friendship with a user who is blocked: end or keep"`
	FeedKeep      int               `key:"feed-keep" default:"10000" help:"how many changes of relations are kept per user for devices that are away; a device that missed more fetches everything"`
	GroupMembers  map[string]string `key:"max-group-members" help:"how many members a group of a type can have, such as public=2000: work, public, meeting, avchatroom or community; default: 6000, of community 100000, of avchatroom 1000000"`
	GroupsPerUser int               `key:"max-groups-per-user" default:"6000" help:"how many groups one user can be in; more are refused with 10037"`
	Attributes    int               `key:"max-attribute-writes" default:"50" help:"how often one user may write the attributes of one group per second, at each server; more are refused with 10049; 0: no limit"`
	Rooms         int               `key:"max-live-rooms" default:"0" help:"how many live rooms there may be; more are refused with 10036; 0: no limit"`
	RoomsPerUser  int               `key:"max-live-rooms-per-user" default:"0" help:"how many live rooms one user may own; more are refused with 10036; 0: no limit"`
	RoomRate      int               `key:"max-live-room-messages" default:"40" help:"messages per second that a live room lets through; as many wait for up to a second, and what is too much is refused with 10023, the lowest priority first"`
	Heartbeat     time.Duration     `key:"heartbeat" default:"30s" help:"how often clients send a heartbeat, in whole seconds"`
	Classes       map[string]string `key:"classes" help:"class of a platform, such as mac=desktop: desktop, mobile, pad, web or any; a login ends the other sessions of its class, except those of class any"`

	Connections           int           `key:"max-connections" group:"Limits" default:"0" help:"connections at the same time, of clients and of the admin API; 0: as many as the system's limit of open files allows"`
	ConnectionsPerAddress int           `key:"max-connections-per-address" default:"10000" help:"connections from one address (for IPv6, one /64 network); 0: no limit"`
	ConnectionsPerUser    int           `key:"max-connections-per-user" default:"100" help:"logged-in connections of one user; 0: no limit"`
	TrustedProxies        string        `key:"trusted-proxies" list:"true" help:"addresses or networks of reverse proxies whose X-Forwarded-For names the client, separated by commas"`
	AllowedOrigins        string        `key:"allowed-origins" list:"true" help:"web pages whose scripts may connect to /ws, such as https://app.example, separated by commas; default: any page"`
	FailuresPerUser       int           `key:"max-failed-logins-per-user" default:"10" help:"bad tickets for one user from one address within a minute, before logins of that user from that address are answered with 70050 for a minute; 0: no limit"`
	FailuresPerAddress    int           `key:"max-failed-logins-per-address" default:"100" help:"bad tickets from one address within a minute, before further bad ones are answered with 70050 for a minute; 0: no limit"`
	LoginWithin           time.Duration `key:"login-within" default:"10s" help:"how long a connection may stay without a login"`
	Silence               time.Duration `key:"silence" default:"1m30s" help:"how long a client may be silent"`
	SendsPerSecond        int           `key:"max-sends-per-second" default:"0" help:"messages that one connection may send per second, with as many again in a burst; 0: no limit"`
	CallsPerSecond        int           `key:"max-calls-per-second" default:"10000" help:"other calls that one connection may make per second, with as many again in a burst; 0: no limit"`
	QueueBytes            int           `key:"queue-bytes" default:"4194304" help:"bytes of events that may wait for a connection before further ones are dropped and pulled later"`
	QueueMemory           int           `key:"queue-memory" default:"536870912" help:"bytes that may wait for all connections together; above that, 64 KiB may wait per connection"`
	QueueFrames           int           `key:"queue-frames" default:"4096" help:"events that may wait for a connection"`

	Admins            string        `key:"admins" list:"true" group:"Operators" default:"administrator" help:"users whose tickets may call the admin API (/v4/), separated by commas"`
	WebhookURL        string        `key:"webhook-url" help:"http or https address that is asked about messages and notified of them"`
	WebhookToken      string        `key:"webhook-token" help:"signs the requests to webhook-url"`
	WebhookDeadline   time.Duration `key:"webhook-deadline" default:"2s" help:"how long webhook-url may take to respond"`
	WebhookUnanswered string        `key:"webhook-unanswered" default:"deliver" help:"what happens to a message if webhook-url does not respond properly: deliver, or refuse with code 80003"`

	LockWait time.Duration `key:"lock-wait" group:"Storage" default:"5s" help:"how long a write waits for another program's lock on the database file before it is refused, up to 1m"`
	Postgres string        `key:"postgres" help:"address of a PostgreSQL database (15 or newer) to keep everything in, instead of the data folder: postgres://user@host/database; several servers may share one"`
	Standby  string        `key:"postgres-standby" default:"none" help:"what a promoted standby of PostgreSQL has: synchronous (everything that was acknowledged, ensured by synchronous_standby_names), or none (perhaps less: then the database is another store, and clients start their logs over)"`
	NATS     string        `key:"nats" hidden:"true" help:"not built yet"`

	Blob        string        `key:"blob" group:"Media" help:"folder of the files that users upload, as file:///DIR; default: blob in the data folder, and with postgres none, so that there are no uploads; several servers that share a database must share it"`
	MediaUnused time.Duration `key:"media-unused" default:"24h" help:"how long an upload may take, and how long a file is kept that no message refers to"`
	OpenUploads int           `key:"max-open-uploads" default:"20" help:"uploads of one user that are not done"`
	UploadDay   int           `key:"max-upload-bytes-per-day" default:"0" help:"bytes that one user may upload in 24 hours; 0: no limit"`
	UploadKept  int           `key:"max-upload-bytes-per-user" default:"0" help:"bytes of one user's files that are kept; 0: no limit"`
	MediaKeep   int           `key:"media-keep" default:"0" help:"days that a file is kept after the last message that refers to it was sent, of messages sent while the setting holds; 0: as long as one refers to it"`
	MediaFree   int           `key:"media-reserve" default:"1073741824" help:"bytes on the disk of blob that uploads leave free for the rest of the server"`
}

// most is the largest number that a setting may have.
const most = 1_000_000_000_000

// mostRoomRate is the largest value of max-live-room-messages: that many messages may also wait in a room.
const mostRoomRate = 1_000_000

// DefaultSettings returns the settings of a server without configuration.
func DefaultSettings() *Settings {
	s := &Settings{}
	for _, k := range s.Keys() {
		if k.Default == "" {
			continue
		}
		if err := k.Set(k.Default); err != nil {
			panic(fmt.Sprintf("server: default of %s: %v", k.Name, err))
		}
	}
	return s
}

// Key is one setting. It is a pflag.Value.
type Key struct {
	Name, Group, Default, Help string
	// Reload: it may be changed while the server runs. Hidden: it is for people who work on Tidings, or belongs to a part that is not built. List:
	// several values, separated by commas.
	Reload, Hidden, List bool
	value                reflect.Value
}

// Keys returns all settings in the order of the reference; setting one changes s.
func (s *Settings) Keys() []Key {
	v := reflect.ValueOf(s).Elem()
	var keys []Key
	group := ""
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		if g := tag.Get("group"); g != "" {
			group = g
		}
		keys = append(keys, Key{Name: tag.Get("key"), Group: group, Default: tag.Get("default"), Help: tag.Get("help"),
			Reload: tag.Get("reload") != "", Hidden: tag.Get("hidden") != "", List: tag.Get("list") != "", value: v.Field(i)})
	}
	return keys
}

// Env returns the name of the setting in the environment.
func (k Key) Env() string { return "TIDINGS_" + strings.ToUpper(strings.ReplaceAll(k.Name, "-", "_")) }

// String returns the value in the form that Set accepts.
func (k Key) String() string {
	if !k.value.IsValid() {
		return "" // pflag calls it on a zero Key
	}
	switch v := k.value.Interface().(type) {
	case map[string]string:
		pairs := make([]string, 0, len(v))
		for _, name := range slices.Sorted(maps.Keys(v)) {
			pairs = append(pairs, name+"="+v[name])
		}
		return strings.Join(pairs, ",")
	case time.Duration:
		return shortDuration(v)
	default:
		return fmt.Sprint(v)
	}
}

func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Type returns a word for the type of the value.
func (k Key) Type() string {
	switch k.value.Interface().(type) {
	case map[string]string:
		return "pairs"
	case time.Duration:
		return "duration"
	case int, uint64:
		return "number"
	}
	return "text"
}

// Set parses a value.
func (k Key) Set(text string) error {
	switch v := k.value.Addr().Interface().(type) {
	case *string:
		*v = text
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > most || strconv.Itoa(n) != text {
			return fmt.Errorf("%q is not a number from 0 to %d", text, most)
		}
		*v = n
	case *uint64:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != text {
			return fmt.Errorf("%q is not a number from 1 on", text)
		}
		*v = n
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return fmt.Errorf("%q is not a length of time above 0, such as 90s or 2m", text)
		}
		*v = d
	case *map[string]string:
		*v = nil
		pairs, err := items(text)
		if err != nil {
			return err
		}
		for _, pair := range pairs {
			name, value, ok := strings.Cut(pair, "=")
			if name, value = strings.TrimSpace(name), strings.TrimSpace(value); !ok || name == "" || value == "" {
				return fmt.Errorf("%q is not a pair such as mac=desktop", pair)
			}
			if _, twice := (*v)[name]; twice {
				return fmt.Errorf("%s is set twice", name)
			}
			if *v == nil {
				*v = make(map[string]string)
			}
			(*v)[name] = value
		}
	default:
		panic(fmt.Sprintf("server: setting %s is a %T", k.Name, v))
	}
	return nil
}

// ReadSettings reads a settings file: YAML, one mapping of keys to values. It returns the values as text for Set, or an error that names every
// unknown key and every value that its key cannot have.
func ReadSettings(file []byte) (map[string]string, error) {
	dec := yaml.NewDecoder(bytes.NewReader(file))
	var doc yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one document in it")
	}
	top := &doc
	if top.Kind == yaml.DocumentNode {
		top = top.Content[0]
	}
	if top.Kind == yaml.ScalarNode && top.Tag == "!!null" {
		return nil, nil // only comments
	}
	if top.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: this is not a mapping of settings to values", top.Line)
	}
	known := make(map[string]Key)
	for _, k := range DefaultSettings().Keys() {
		known[k.Name] = k
	}
	values := make(map[string]string)
	var errs []error
	for i := 0; i+1 < len(top.Content); i += 2 {
		name, node := top.Content[i], top.Content[i+1]
		fail := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("line %d: %s", name.Line, fmt.Sprintf(format, args...)))
		}
		k, ok := known[name.Value]
		if !ok || name.Kind != yaml.ScalarNode {
			fail("there is no setting %q", name.Value)
			continue
		}
		if _, twice := values[k.Name]; twice {
			fail("%s is set twice", k.Name)
			continue
		}
		text, err := flat(k, node)
		if err == nil {
			err = k.Set(text)
		}
		if err != nil {
			fail("%s: %v", k.Name, err)
			continue
		}
		values[k.Name] = text
	}
	return values, errors.Join(errs...)
}

// flat returns a value as text: a list is joined by commas, and so are the pairs of a mapping.
func flat(k Key, n *yaml.Node) (string, error) {
	switch {
	case n.Kind == yaml.ScalarNode:
		return scalar(n)
	case n.Kind == yaml.SequenceNode && (k.List || k.Type() == "pairs"), n.Kind == yaml.MappingNode && k.Type() == "pairs":
		var parts []string
		for _, c := range n.Content {
			text, err := scalar(c)
			if err == nil && (text == "" || strings.ContainsAny(text, ",=")) {
				err = errors.New("it may contain only plain values")
			}
			if err != nil {
				return "", err
			}
			parts = append(parts, text)
		}
		if n.Kind == yaml.SequenceNode {
			return strings.Join(parts, ","), nil
		}
		var pairs []string
		for i := 0; i+1 < len(parts); i += 2 {
			pairs = append(pairs, parts[i]+"="+parts[i+1])
		}
		return strings.Join(pairs, ","), nil
	}
	return "", errors.New("it must be a plain value")
}

// scalar returns a value as it is written; a tag that would change its meaning is refused.
func scalar(n *yaml.Node) (string, error) {
	switch {
	case n.Kind != yaml.ScalarNode:
		return "", errors.New("it may contain only plain values")
	case n.Tag == "!!null":
		return "", errors.New("the value is missing")
	case !slices.Contains([]string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp"}, n.Tag):
		return "", fmt.Errorf("a value of the type %s cannot be used", n.Tag)
	}
	return n.Value, nil
}

// Config makes a server's configuration from the settings, or reports which of them are invalid.
func (s *Settings) Config(log *slog.Logger) (Config, error) {
	cfg := Config{
		Listen: s.Listen, Data: s.Data, AppID: s.AppID, SecretKey: s.SecretKey, Drain: s.Drain, Log: log,
		TLSCert: s.TLSCert, TLSKey: s.TLSKey, LockWait: s.LockWait, Postgres: s.Postgres, NATS: s.NATS,
	}
	for _, k := range s.Keys() {
		text, ok := k.value.Interface().(string)
		if !ok {
			continue
		}
		if err := plain(text); err != nil {
			return cfg, fmt.Errorf("%s: %w", k.Name, err)
		}
		if text == "" && k.Default != "" {
			return cfg, fmt.Errorf("%s is empty", k.Name)
		}
	}
	var err error
	if cfg.Admins, err = items(s.Admins); err != nil {
		return cfg, fmt.Errorf("admins: %w", err)
	}
	for _, name := range cfg.Admins {
		if !im.ValidUserID(name) {
			return cfg, fmt.Errorf("admins: %q is not 1 to 32 printable ASCII characters", name)
		}
	}
	if err := checkDSN(s.Postgres); err != nil {
		return cfg, fmt.Errorf("postgres: %w", err)
	}
	if s.RevokeWindow%time.Millisecond != 0 {
		return cfg, fmt.Errorf("revoke-window: %v is not a number of whole milliseconds", s.RevokeWindow)
	}
	if cfg.Chat.MaxMembers, err = groupMembers(s.GroupMembers); err != nil {
		return cfg, err
	}
	if cfg.Chat.Classes, err = Classes(s.Classes); err != nil {
		return cfg, err
	}
	if cfg.TrustedProxies, err = networks(s.TrustedProxies); err != nil {
		return cfg, fmt.Errorf("trusted-proxies: %w", err)
	}
	if cfg.Gateway.Origins, err = origins(s.AllowedOrigins); err != nil {
		return cfg, fmt.Errorf("allowed-origins: %w", err)
	}
	if s.Heartbeat%time.Second != 0 || s.Heartbeat > time.Hour {
		return cfg, fmt.Errorf("heartbeat: %v is not a number of whole seconds up to an hour", s.Heartbeat)
	}
	if s.LockWait%time.Millisecond != 0 || s.LockWait > time.Minute {
		return cfg, fmt.Errorf("lock-wait: %v is not a number of whole milliseconds up to a minute", s.LockWait)
	}
	if s.QueueBytes == 0 || s.QueueMemory == 0 || s.QueueFrames == 0 {
		return cfg, errors.New("queue-bytes, queue-memory and queue-frames must be above 0")
	}
	if (s.TLSCert == "") != (s.TLSKey == "") {
		return cfg, errors.New("tls-cert and tls-key must be set both, or none")
	}
	if s.WebhookUnanswered != "deliver" && s.WebhookUnanswered != "refuse" {
		return cfg, fmt.Errorf("webhook-unanswered: %q is neither deliver nor refuse", s.WebhookUnanswered)
	}
	if s.Standby != "none" && s.Standby != "synchronous" {
		return cfg, fmt.Errorf("postgres-standby: %q is neither none nor synchronous", s.Standby)
	}
	cfg.SynchronousStandby = s.Standby == "synchronous"
	w := &cfg.Webhook
	w.URL, w.Token, w.Deadline, w.Refuse = s.WebhookURL, s.WebhookToken, s.WebhookDeadline, s.WebhookUnanswered == "refuse"
	if s.Modifications == 0 {
		return cfg, errors.New("max-modifications must be above 0")
	}
	if s.GroupsPerUser == 0 {
		return cfg, errors.New("max-groups-per-user must be above 0")
	}
	cfg.Chat.MaxGroups, cfg.Chat.AttributeWrites = s.GroupsPerUser, s.Attributes
	if s.RoomRate == 0 || s.RoomRate > mostRoomRate {
		return cfg, fmt.Errorf("max-live-room-messages must be from 1 to %d", mostRoomRate)
	}
	cfg.Chat.RoomRate, cfg.Chat.MaxRooms, cfg.Chat.MaxRoomsPerUser = s.RoomRate, s.Rooms, s.RoomsPerUser
	if s.FeedKeep == 0 {
		return cfg, errors.New("feed-keep must be above 0")
	}
	if s.BlockedSend != "pretend" && s.BlockedSend != "refuse" {
		return cfg, fmt.Errorf("blocked-send: %q is neither pretend nor refuse", s.BlockedSend)
	}
	if s.Strangers != "allow" && s.Strangers != "refuse" {
		return cfg, fmt.Errorf("strangers: %q is neither allow nor refuse", s.Strangers)
	}
	if s.BlockedFriend != "end" && s.BlockedFriend != "keep" {
		return cfg, fmt.Errorf("blocked-friend: %q is neither end nor keep", s.BlockedFriend)
	}
	cfg.Chat.FeedKeep, cfg.Chat.BlockKeepsFriend = uint64(s.FeedKeep), s.BlockedFriend == "keep"
	cfg.Chat.OnlyFriends, cfg.Chat.RefuseBlocked = s.Strangers == "refuse", s.BlockedSend == "refuse"
	cfg.Chat.Modifications = uint64(s.Modifications)
	cfg.Chat.RevokeWindow, cfg.Chat.Heartbeat = s.RevokeWindow, int32(s.Heartbeat/time.Second)
	if cfg.Blob, err = blobDir(s.Blob); err != nil {
		return cfg, fmt.Errorf("blob: %w", err)
	}
	if cfg.PublicURL, err = publicURL(s.PublicURL); err != nil {
		return cfg, fmt.Errorf("public-url: %w", err)
	}
	if s.OpenUploads == 0 {
		return cfg, errors.New("max-open-uploads must be above 0")
	}
	cfg.Chat.MediaKeep = time.Duration(min(s.MediaKeep, 100_000)) * 24 * time.Hour // 100,000 days are the longest that a Duration has
	cfg.Media = media.Config{Unused: s.MediaUnused, OpenPerUser: s.OpenUploads, PerDay: int64(s.UploadDay), PerUser: int64(s.UploadKept), Reserve: uint64(s.MediaFree)}
	// 0 means no limit to an operator, and the default to the gateway.
	none := func(n int) int {
		if n == 0 {
			return -1
		}
		return n
	}
	g := &cfg.Gateway
	cfg.MaxConnections = s.Connections
	g.PerAddress, g.PerUser = none(s.ConnectionsPerAddress), none(s.ConnectionsPerUser)
	g.FailuresPerUser, g.FailuresPerAddress = none(s.FailuresPerUser), none(s.FailuresPerAddress)
	g.SendRate, g.CallRate = none(s.SendsPerSecond), none(s.CallsPerSecond)
	g.LoginWithin, g.Silence, g.QueueBytes, g.QueueFrames = s.LoginWithin, s.Silence, s.QueueBytes, s.QueueFrames
	g.QueueMemory = int64(s.QueueMemory)
	return cfg, nil
}

// plain refuses a text that would not be used as it looks. It does not repeat the text, which may be a secret.
func plain(text string) error {
	if text != strings.TrimSpace(text) {
		return errors.New("the value begins or ends with a blank")
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return errors.New("the value has characters that cannot be seen, or is not UTF-8")
	}
	return nil
}

// items splits a list at its commas; blanks around them do not count. An empty text is an empty list.
func items(text string) (out []string, err error) {
	if text == "" {
		return nil, nil
	}
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item == "" {
			return nil, errors.New("there is nothing between two commas, or at an end")
		}
		out = append(out, item)
	}
	return out, nil
}

// checkDSN refuses what the driver would silently leave out of a database's URL. The text is not repeated, because it may contain a password.
func checkDSN(dsn string) error {
	if !strings.Contains(dsn, "://") {
		return nil // key words, of which the driver takes all or none
	}
	if strings.Contains(dsn, "#") {
		return errors.New("a # in a URL must be written %23")
	}
	_, query, _ := strings.Cut(dsn, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("the URL's query is malformed")
	}
	for name, v := range values {
		if len(v) > 1 {
			return fmt.Errorf("%s occurs twice in the URL", name)
		}
	}
	return nil
}

// Level returns the log level.
func (s *Settings) Level() (l slog.Level, err error) {
	if err = l.UnmarshalText([]byte(s.LogLevel)); err != nil {
		err = fmt.Errorf("log-level: %q is not debug, info, warn or error", s.LogLevel)
	}
	return l, err
}

// Reference returns the page that documents the settings.
func Reference() string {
	var b strings.Builder
	b.WriteString(`<!-- Code generated by tidings reference. DO NOT EDIT. -->

# Settings of the server

Each setting of ` + "`tidings serve`" + ` is a flag, an environment variable and a key of the YAML file that ` + "`--config`" + ` (or
` + "`TIDINGS_CONFIG`" + `) names. A flag overrides the environment, and the environment the file. In the file, an unknown key is an error, and so is a
value that its key cannot have. A duration is a number with a unit, such as 90s, 2m or 1h30m.

` + "```yaml" + `
listen: 0.0.0.0:7070
data: /var/lib/tidings
tls-cert: /etc/tidings/cert.pem
tls-key: /etc/tidings/key.pem
classes:
  mac: any
` + "```" + `

SIGHUP makes a running server read the file and the environment again. It applies the settings that are marked *reload* below; for other changed
settings, it logs that they need a restart.
`)
	group := ""
	for _, k := range DefaultSettings().Keys() {
		if k.Hidden {
			continue
		}
		if k.Group != group {
			group = k.Group
			fmt.Fprintf(&b, "\n## %s\n\n| Key | Environment | Default | |\n|---|---|---|---|\n", group)
		}
		def := k.Default
		if def != "" {
			def = "`" + def + "`"
		}
		help := strings.ReplaceAll(k.Help, "|", "\\|")
		if k.Reload {
			help += " *(reload)*"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", k.Name, k.Env(), def, strings.ToUpper(help[:1])+help[1:])
	}
	return b.String()
}
