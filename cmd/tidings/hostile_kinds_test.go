package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/server"
	"github.com/tidings-im/tidings/usersig"
)

// villain is a connection that misbehaves, again and again in the same way.
type villain struct {
	ctx  context.Context // ends with the test
	addr string
	from net.IP
	name string
	// victim is an honest user.
	victim string
	r      *rand.Rand
	n      uint64 // drawn for messages and calls
}

// hostileWay is a way to misbehave. It makes one round; it is not an error if the server ends the connection, and the server's answers do not matter.
type hostileWay struct {
	name string
	act  func(*villain)
}

var hostile = []hostileWay{
	{"noise instead of HTTP", func(v *villain) { v.say(v.noise(4096)) }},
	{"a slow header", func(v *villain) { v.drip("GET /ws HTTP/1.1\r\nHost: tidings\r\nX: " + strings.Repeat("x", 1000)) }},
	{"a body that never ends", func(v *villain) {
		v.drip("POST /v4/openim/sendmsg?sdkappid=1400000000&identifier=administrator HTTP/1.1\r\nHost: tidings\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat(" ", 1000))
	}},
	{"chunks that never end", func(v *villain) {
		v.drip("POST /v4/im_open_login_svc/kick HTTP/1.1\r\nHost: tidings\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\n \r\n", 200))
	}},
	{"answers that nobody reads", func(v *villain) { v.deaf(strings.Repeat("GET /metrics HTTP/1.1\r\nHost: tidings\r\n\r\n", 1000)) }},
	{"an upgrade with a body", func(v *villain) {
		v.say([]byte(strings.Replace(upgradeRequest, "\r\n\r\n", "\r\nContent-Length: 100000\r\n\r\n", 1) + strings.Repeat("x", 100000)))
	}},
	{"a login that never comes", func(v *villain) { v.upgraded(nil) }},
	{"connections that come and go", func(v *villain) {
		for range 50 {
			if c, err := v.connect(); err == nil {
				c.Close()
			}
		}
	}},

	{"length with bit 63", func(v *villain) { v.upgraded([]byte("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00")) }},
	{"length with bit 63 after a login", func(v *villain) { v.logged([]byte("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00")) }},
	{"noise after the upgrade", func(v *villain) { v.upgraded(v.noise(4096)) }},
	{"noise after a login", func(v *villain) { v.logged(v.noise(4096)) }},
	{"no mask", func(v *villain) { v.logged([]byte{0x82, 3, 1, 2, 3}) }},
	{"a reserved bit", func(v *villain) { v.logged([]byte{0xc2, 0x80, 0, 0, 0, 0}) }},
	{"a message in endless pieces", func(v *villain) {
		v.logged(append([]byte{0x02, 0x80, 0, 0, 0, 0}, bytes.Repeat([]byte{0x00, 0x80, 0, 0, 0, 0}, 50_000)...))
	}},
	{"pings without end", func(v *villain) { v.logged(bytes.Repeat([]byte{0x89, 0xfd, 0x82: 0}, 2000)) }},
	{"a megabyte that is announced and never sent", func(v *villain) { v.logged([]byte{0x82, 0xff, 0, 0, 0, 0, 0, 0x0f, 0, 0, 0, 0, 0, 0}) }},
	{"frames that are none", func(v *villain) { v.frames(v.noise(1000)) }},
	{"a frame longer than its message", func(v *villain) { v.frames(binary.AppendUvarint(nil, math.MaxUint64)) }},

	{"every method with noise", func(v *villain) {
		var b []byte
		for m := im.Method(0); m < 70; m++ {
			b = v.call(b, m, v.noise(200))
		}
		v.frames(b)
	}},
	{"huge numbers", func(v *villain) {
		v.talk(im.Method_PULL, &im.PullRequest{Conv: v.conv(), Epoch: math.MaxUint64, From: math.MaxUint64, To: math.MaxUint64, Limit: math.MaxUint32},
			im.Method_PULL, &im.PullRequest{Conv: v.conv(), Epoch: 1, To: math.MaxUint64, NewestFirst: true},
			im.Method_CHANGES, &im.ChangesRequest{Conv: v.conv(), Epoch: 1, From: 1, To: math.MaxUint64},
			im.Method_HEADS, &im.HeadsRequest{Cursor: math.MinInt64, After: math.MaxUint64, WithLast: true},
			im.Method_READ, &im.ReadRequest{Positions: []*im.ReadPosition{{Conv: v.conv(), Epoch: 1, Seq: math.MaxUint64}}},
			im.Method_ROW, &im.RowRequest{Conv: v.conv(), Epoch: 1, ClearedSeq: ptr(uint64(math.MaxUint64)), RecvOpt: ptr(int32(math.MinInt32))},
			im.Method_DELETE, &im.DeleteRequest{Conv: v.conv(), Epoch: 1, Seqs: []uint64{0, math.MaxUint64}},
			im.Method_MODIFY, &im.ModifyRequest{Conv: v.conv(), Epoch: 1, Seq: math.MaxUint64, Version: math.MaxUint64, Message: v.text("x")},
			im.Method_SEQ_AT, &im.SeqAtRequest{Conv: v.conv(), Epoch: 1, FromTime: math.MinInt64, ToTime: math.MaxInt64},
			im.Method_SEND, &im.SendRequest{Conv: v.conv(), ClientTime: math.MaxUint64, Random: 1, Message: v.text("x")})
	}},
	{"a place that is no number", func(v *villain) {
		for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			v.message(&im.Elem{ElemType: im.ElemType_ELEM_TYPE_LOCATION, Body: &im.Elem_Location{Location: &im.LocationElem{Desc: "here", Longitude: x, Latitude: x}}})
		}
	}},
	{"foreign wire types in a message", func(v *villain) {
		var b []byte
		merger := protowire.AppendTag(nil, 6, protowire.VarintType)
		b = v.rawMessage(b, wireField(1, append(protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(im.ElemType_ELEM_TYPE_MERGER)),
			wireField(elemField("merger"), protowire.AppendVarint(merger, 7))...)))
		for range 50 {
			m, _ := v.text("hello").MarshalVT()
			for range 1 + v.r.IntN(3) {
				m[v.r.IntN(len(m))] ^= 1 << v.r.IntN(8)
			}
			b = v.rawMessage(b, m)
			b = v.rawMessage(b, protowire.AppendVarint(protowire.AppendTag(nil, protowire.Number(1+v.r.IntN(60)), protowire.VarintType), v.r.Uint64()))
			b = v.rawMessage(b, wireField(1, wireField(1+v.r.IntN(30), v.noise(20))))
		}
		v.frames(b)
	}},
	{"mergers of 300 by 300", func(v *villain) {
		inner := &im.Elem{ElemType: im.ElemType_ELEM_TYPE_MERGER, Body: &im.Elem_Merger{Merger: &im.MergerElem{Title: "t", MessageArray: empties(300)}}}
		outer := &im.MergerElem{Title: "t"}
		for range 300 {
			outer.MessageArray = append(outer.MessageArray, &im.Message{ElemArray: []*im.Elem{inner}})
		}
		v.message(&im.Elem{ElemType: im.ElemType_ELEM_TYPE_MERGER, Body: &im.Elem_Merger{Merger: outer}})
	}},
	{"mergers a thousand deep", func(v *villain) {
		e := &im.Elem{ElemType: im.ElemType_ELEM_TYPE_TEXT, Body: &im.Elem_Text{Text: &im.TextElem{Content: "x"}}}
		for range 1000 {
			e = &im.Elem{ElemType: im.ElemType_ELEM_TYPE_MERGER, Body: &im.Elem_Merger{Merger: &im.MergerElem{Title: "t", MessageArray: []*im.Message{{ElemArray: []*im.Elem{e}}}}}}
		}
		v.message(e)
	}},
	{"a megabyte of empty parts to send", func(v *villain) { v.frames(v.rawMessage(nil, bytes.Repeat([]byte{0x0a, 0}, 500_000))) }},
	{"a megabyte of empty parts to modify", func(v *villain) {
		v.frames(v.call(nil, im.Method_MODIFY, append(v.key(), wireField(5, bytes.Repeat([]byte{0x0a, 0}, 500_000))...)))
	}},
	{"a megabyte of empty positions", func(v *villain) { v.frames(v.call(nil, im.Method_READ, bytes.Repeat([]byte{0x0a, 0}, 500_000))) }},
	{"a megabyte of empty keys", func(v *villain) { v.frames(v.call(nil, im.Method_LOOKUP, bytes.Repeat([]byte{0x0a, 0}, 500_000))) }},

	{"recalls with long reasons", func(v *villain) {
		v.stored(func(epoch, seq uint64) []byte {
			var b []byte
			for range 5 {
				b = v.call(b, im.Method_REVOKE, body(&im.RevokeRequest{Conv: v.conv(), Epoch: epoch, Seq: seq, Reason: strings.Repeat("\xff", 150_000)}))
			}
			return b
		})
	}},
	{"a thousand modifications", func(v *villain) {
		v.stored(func(epoch, seq uint64) []byte {
			var b []byte
			for i := range 1000 {
				b = v.call(b, im.Method_MODIFY, body(&im.ModifyRequest{Conv: v.conv(), Epoch: epoch, Seq: seq, Version: uint64(i), Message: v.text(strings.Repeat("m", 900))}))
			}
			return b
		})
	}},
	{"everything asked for and nothing read", func(v *villain) {
		v.stored(func(epoch, seq uint64) []byte {
			var b []byte
			for range 1000 {
				b = v.call(b, im.Method_PULL, body(&im.PullRequest{Conv: v.conv(), Epoch: epoch, From: 1, To: seq}))
				b = v.call(b, im.Method_CHANGES, body(&im.ChangesRequest{Conv: v.conv(), Epoch: epoch, From: 1, To: 1000}))
				b = v.call(b, im.Method_HEADS, body(&im.HeadsRequest{WithLast: true}))
			}
			return b
		})
	}},
	{"a receiver who reads nothing", func(v *villain) {
		reader, err := v.login(&im.LoginRequest{UserId: v.name, Platform: im.Platform_PLATFORM_LINUX})
		if err != nil {
			return
		}
		defer reader.Close()
		writer, err := v.login(&im.LoginRequest{UserId: v.name + "w", Platform: im.Platform_PLATFORM_LINUX})
		if err != nil {
			return
		}
		defer writer.Close()
		for range 100 {
			b := v.call(nil, im.Method_SEND, body(&im.SendRequest{Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: v.name}, ClientTime: 1700000000, Random: v.r.Uint32(),
				Message: v.text(strings.Repeat("x", 10_000))}))
			if writer.write(b) != nil {
				return
			}
		}
		io.Copy(io.Discard, io.LimitReader(writer, 1000))
	}},

	{"a resume near the end of numbers", func(v *villain) {
		v.enter(&im.LoginRequest{UserId: v.name, Platform: im.Platform_PLATFORM_LINUX, Resume: true, Generation: math.MaxUint64 - 1, KickedGeneration: math.MaxUint64})
	}},
	{"platforms that do not exist", func(v *villain) {
		v.enter(&im.LoginRequest{UserId: v.name, Platform: im.Platform(v.r.Int32()), DeviceId: fmt.Sprint("d", v.r.Uint32())})
	}},
	{"a device a login", func(v *villain) {
		v.enter(&im.LoginRequest{UserId: v.name, Platform: im.Platform(v.r.IntN(9)), DeviceId: fmt.Sprint("d", v.r.Uint32())})
	}},
	{"names that are none", func(v *villain) {
		v.enter(&im.LoginRequest{UserId: string(v.noise(200)), DeviceId: string(v.noise(200)), SdkVersion: string(v.noise(20_000))})
	}},
	{"bad tickets", func(v *villain) {
		v.enter(&im.LoginRequest{UserId: v.victim, UserSig: string(v.noise(200)), Platform: im.Platform_PLATFORM_LINUX})
	}},
	{"logins and logouts", func(v *villain) {
		l, err := v.login(&im.LoginRequest{UserId: v.name, Platform: im.Platform_PLATFORM_LINUX})
		if err == nil {
			l.write(v.call(nil, im.Method_LOGOUT, nil))
			l.message()
			l.Close()
		}
	}},

	{"noise to the admin API", func(v *villain) { v.admin("openim/sendmsg", v.noise(2000)) }},
	{"deep JSON to the admin API", func(v *villain) { v.admin("openim/sendmsg", bytes.Repeat([]byte(`{"MsgBody":[`), 80_000)) }},
	{"huge numbers to the admin API", func(v *villain) {
		for _, n := range []string{"1e308", "-1e308", "99999999999999999999999", "-9223372036854775808", "18446744073709551615", "1.5", strings.Repeat("9", 100_000)} {
			v.admin("openim/sendmsg", []byte(`{"To_Account":"`+v.victim+`","MsgRandom":`+n+`,"MsgSeq":`+n+`,"MsgLifeTime":`+n+`,"SyncOtherMachine":`+n+
				`,"MsgBody":[{"MsgType":"TIMLocationElem","MsgContent":{"Desc":"d","Latitude":`+n+`,"Longitude":`+n+`}}]}`))
		}
	}},
	{"a key that is none", func(v *villain) {
		v.admin("openim/admin_msgwithdraw", []byte(`{"From_Account":"`+v.victim+`","To_Account":"`+v.name+`","MsgKey":"18446744073709551615_-1_99999999999999999999"}`))
	}},

	{"one user who floods the hook", func(v *villain) {
		l, err := v.login(&im.LoginRequest{UserId: "flood", Platform: im.Platform_PLATFORM_LINUX, DeviceId: v.name})
		if err != nil {
			return
		}
		defer l.Close()
		var b []byte
		for range 200 {
			b = v.call(b, im.Method_SEND, body(&im.SendRequest{Conv: v.conv(), ClientTime: 1700000000, Random: v.r.Uint32(), Message: v.text("flood")}))
		}
		if l.write(b) == nil {
			l.SetReadDeadline(time.Now().Add(5 * time.Second))
			io.Copy(io.Discard, l)
		}
	}},
}

const upgradeRequest = "GET /ws HTTP/1.1\r\nHost: tidings\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: " + im.Subprotocol + "\r\n\r\n"

func ptr[T any](v T) *T { return &v }

func body(m im.Body) []byte {
	b := make([]byte, m.SizeVT())
	m.MarshalToSizedBufferVT(b)
	return b
}

// wireField returns a field that contains bytes.
func wireField(n int, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, protowire.Number(n), protowire.BytesType), b)
}

func elemField(name string) int {
	return int((&im.Elem{}).ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(name)).Number())
}

func empties(n int) []*im.Message {
	out := make([]*im.Message, n)
	for i := range out {
		out[i] = &im.Message{}
	}
	return out
}

func (v *villain) noise(n int) []byte {
	b := make([]byte, 1+v.r.IntN(n))
	for i := range b {
		b[i] = byte(v.r.Uint32())
	}
	return b
}

func (v *villain) conv() *im.ConvKey {
	return &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: v.victim}
}

// key returns the conversation as the first field of a request.
func (v *villain) key() []byte { return wireField(1, body(v.conv())) }

func (v *villain) text(s string) *im.Message { return im.Text(s) }

// call appends a frame.
func (v *villain) call(b []byte, m im.Method, body []byte) []byte {
	v.n++
	return im.AppendFrame(b, &im.Frame{Id: v.n, Method: m, Body: body})
}

// rawMessage appends a send of a message that is given as bytes.
func (v *villain) rawMessage(b, message []byte) []byte {
	req := protowire.AppendVarint(protowire.AppendTag(v.key(), 2, protowire.VarintType), 1700000000)
	req = protowire.AppendVarint(protowire.AppendTag(req, 3, protowire.VarintType), uint64(v.r.Uint32()))
	return v.call(b, im.Method_SEND, append(req, wireField(4, message)...))
}

// connect returns a connection that ends with the test.
func (v *villain) connect() (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: v.from}, Timeout: 10 * time.Second}
	c, err := d.DialContext(v.ctx, "tcp", v.addr)
	if err == nil {
		context.AfterFunc(v.ctx, func() { c.Close() })
	}
	return c, err
}

// say sends bytes, and reads until the server ends the connection.
func (v *villain) say(b []byte) {
	c, err := v.connect()
	if err != nil {
		return
	}
	defer c.Close()
	v.listen(c, b)
}

// listen writes bytes and reads what arrives for a while.
func (v *villain) listen(c net.Conn, b []byte) {
	c.SetDeadline(time.Now().Add(3 * time.Second))
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Write(b)
	}()
	io.Copy(io.Discard, c)
	c.Close()
	<-done
}

// drip sends a byte from time to time, for as long as the server lets it.
func (v *villain) drip(s string) {
	c, err := v.connect()
	if err != nil {
		return
	}
	defer c.Close()
	half := len(s) / 2
	c.Write([]byte(s[:half]))
	for i := half; i < len(s) && v.pause(100*time.Millisecond); i++ {
		if _, err := c.Write([]byte{s[i]}); err != nil {
			return
		}
	}
}

// deaf sends bytes and reads nothing, until the server ends the connection.
func (v *villain) deaf(s string) {
	c, err := v.connect()
	if err != nil {
		return
	}
	defer c.Close()
	c.(*net.TCPConn).SetReadBuffer(4096)
	for {
		if _, err := c.Write([]byte(s)); err != nil {
			return
		}
	}
}

// upgraded sends bytes on a WebSocket before the login.
func (v *villain) upgraded(b []byte) {
	c, err := v.connect()
	if err != nil {
		return
	}
	defer c.Close()
	io.WriteString(c, upgradeRequest)
	c.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(c)
	for line := ""; line != "\r\n"; {
		if line, err = r.ReadString('\n'); err != nil {
			return
		}
	}
	v.listen(c, b)
}

func (v *villain) login(req *im.LoginRequest) (*rawLink, error) {
	c, err := v.connect()
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	l, err := upgradeRaw(c, v.addr, 4096)
	if err != nil {
		return nil, err
	}
	if req.UserSig == "" {
		if req.UserSig, err = usersig.Sign(server.DefaultAppID, killKey, req.UserId, time.Hour, time.Now()); err != nil {
			req.UserSig = "none"
		}
	}
	req.DeviceId = cmp.Or(req.DeviceId, "device")
	if _, err := l.loginAs(req); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// enter logs in and stays a while.
func (v *villain) enter(req *im.LoginRequest) {
	if l, err := v.login(req); err == nil {
		defer l.Close()
		v.pause(time.Duration(v.r.IntN(1000)) * time.Millisecond)
	}
}

// logged sends bytes on a WebSocket after a login.
func (v *villain) logged(b []byte) {
	if l, err := v.login(&im.LoginRequest{UserId: v.name, Platform: im.Platform_PLATFORM_LINUX}); err == nil {
		v.listen(l.Conn, b)
	}
}

// frames sends a message after a login.
func (v *villain) frames(b []byte) {
	if l, err := v.login(&im.LoginRequest{UserId: v.name, Platform: im.Platform_PLATFORM_LINUX}); err == nil {
		defer l.Close()
		l.write(b)
		v.listen(l.Conn, nil)
	}
}

// message sends a message with an element in it.
func (v *villain) message(e *im.Elem) {
	v.frames(v.call(nil, im.Method_SEND, body(&im.SendRequest{Conv: v.conv(), ClientTime: 1700000000, Random: v.r.Uint32(), Message: &im.Message{ElemArray: []*im.Elem{e}}})))
}

// talk makes calls, given alternately as method and request.
func (v *villain) talk(calls ...any) {
	var b []byte
	for i := 0; i < len(calls); i += 2 {
		b = v.call(b, calls[i].(im.Method), body(calls[i+1].(im.Body)))
	}
	v.frames(b)
}

// stored sends a message to the victim, and then the calls that calls makes from its number. It does not read the replies.
func (v *villain) stored(calls func(epoch, seq uint64) []byte) {
	l, err := v.login(&im.LoginRequest{UserId: v.name, Platform: im.Platform_PLATFORM_LINUX})
	if err != nil {
		return
	}
	defer l.Close()
	if l.write(v.call(nil, im.Method_SEND, body(&im.SendRequest{Conv: v.conv(), ClientTime: 1700000000, Random: v.r.Uint32(), Message: v.text(strings.Repeat("x", 1000))}))) != nil {
		return
	}
	msg, err := l.message()
	if err != nil {
		return
	}
	var r im.SendReply
	im.ReadFrames(msg, func(f *im.Frame) error {
		if f.Method == im.Method_SEND && f.Code == 0 {
			return r.UnmarshalVT(f.Body)
		}
		return nil
	})
	if r.Entry == nil {
		return
	}
	l.SetDeadline(time.Now().Add(5 * time.Second))
	b := calls(r.Epoch, r.Entry.Seq)
	for len(b) > 0 { // in messages of whole frames that are not too large
		end := 0
		for end < len(b) {
			size, n := binary.Uvarint(b[end:])
			if end > 0 && end+n+int(size) > im.MaxMessage {
				break
			}
			end += n + int(size)
		}
		if l.write(b[:end]) != nil {
			return
		}
		b = b[end:]
	}
	v.pause(time.Second)
}

// admin calls the admin API.
func (v *villain) admin(command string, body []byte) {
	sig, err := usersig.Sign(server.DefaultAppID, killKey, "administrator", time.Hour, time.Now())
	if err != nil {
		return
	}
	head := fmt.Sprintf("POST /v4/%s?sdkappid=%d&identifier=administrator&usersig=%s&random=1&contenttype=json HTTP/1.1\r\nHost: tidings\r\nConnection: close\r\nContent-Length: %d\r\n\r\n",
		command, server.DefaultAppID, sig, len(body))
	v.say(append([]byte(head), body...))
}

// pause waits, and reports whether the test still runs.
func (v *villain) pause(d time.Duration) bool {
	select {
	case <-v.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
