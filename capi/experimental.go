package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/tidings-im/tidings/im"
)

// operation describes the result of an operation of callExperimentalAPI.
type operation int

const (
	operationActs operation = iota + 1
	operationAccepted
	operationUnbuilt
)

// operationPrefix is how the names of all operations begin.
const operationPrefix = "internal_operation_"

// acting carry out the operations that have an effect, and return what the response contains besides the name. l.mu is held.
var acting = map[string]func(l *library, req *im.ExperimentalRequest, resp *im.ExperimentalResponse) error{
	operationPrefix + "set_custom_server_info": setServer,
	operationPrefix + "set_env":                setEnv,
	operationPrefix + "write_log":              writeLog,
}

// experimental runs an internal operation.
func experimental(c *call) int {
	req := &im.ExperimentalRequest{}
	if err := c.parse(req); err != nil {
		return c.unreadable(err)
	}
	c.lib.mu.RLock()
	defer c.lib.mu.RUnlock()
	resp := &im.ExperimentalResponse{Operation: req.Operation}
	var err error
	switch operations[req.Operation] {
	case operationActs:
		err = acting[req.Operation](c.lib, req, resp)
	case operationAccepted:
	case operationUnbuilt:
		err = im.Errorf(codeInterfaceNotSupported, "%s: %s", req.Operation, notImplemented)
	default:
		return c.refuse(resultJSON, "request_internal_operation is not known")
	}
	c.answer(err, im.ToJSON(resp))
	return resultOK
}

func setEnv(_ *library, req *im.ExperimentalRequest, resp *im.ExperimentalResponse) error {
	resp.Env = new(req.Env)
	return nil
}

// writeLog writes a line of the program.
func writeLog(l *library, req *im.ExperimentalRequest, _ *im.ExperimentalResponse) error {
	text := req.LogContent
	if req.LogFunc != "" {
		text = req.LogFunc + " " + text
	}
	if req.LogFile != "" {
		text = fmt.Sprintf("%s:%d %s", req.LogFile, req.LogLine, text)
	}
	l.log.Log(context.Background(), slogLevel(int(req.LogLevel)), strings.TrimSpace(text))
	return nil
}

func setServer(l *library, req *im.ExperimentalRequest, _ *im.ExperimentalResponse) error {
	server, err := serverOf(req.CustomServerInfo)
	if err != nil {
		return err
	}
	l.config.mu.Lock()
	defer l.config.mu.Unlock()
	l.config.server = server
	return nil
}

// serverOf makes the server's URL from the first address.
func serverOf(info *im.CustomServerInfo) (string, error) {
	if len(info.GetLongConnections()) == 0 || info.LongConnections[0].Ip == "" {
		return "", im.Errorf(im.CodeInvalidParameters, "longconnection_address_array has no address")
	}
	a := info.LongConnections[0]
	scheme, host := "ws://", a.Ip
	for _, s := range []string{"ws://", "wss://"} {
		if rest, ok := strings.CutPrefix(a.Ip, s); ok {
			scheme, host = s, rest
		}
	}
	switch {
	case a.Port < 0 || a.Port > 65535:
		return "", im.Errorf(im.CodeInvalidParameters, "server_address_port is %d", a.Port)
	case a.Port > 0:
		host = net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(int(a.Port)))
	case strings.Contains(host, ":") && a.IsIpv6:
		host = "[" + strings.Trim(host, "[]") + "]"
	}
	return scheme + host, nil
}
