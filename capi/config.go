package main

import (
	"net"
	"net/url"
	"strconv"
	"sync"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// Log levels of TIM.
const (
	levelOff   = 0
	levelDebug = 3
	levelInfo  = 4
	levelWarn  = 5
	levelError = 6
	levelMost  = 7
)

// userDefinedMost limits set_config_user_define_data.
const userDefinedMost = 64

// config is what the application has set, for as long as the process lives.
type config struct {
	mu  sync.Mutex
	set *im.SetConfig
	// By callExperimentalAPI.
	server string
	// console is the console's own level, from the environment when the library was loaded, and again when TIMInit was called.
	console *int
}

func (g *config) init() {
	g.set = &im.SetConfig{LogLevel: new(int32(levelInfo)), CallbackLogLevel: new(int32(levelInfo)), IsLogOutputConsole: new(true),
		UserDefineData: new(""), IsOnlyLocalDnsSource: new(false)}
	g.console = consoleLevel()
}

// consoleLevel returns the level that the environment sets for the console; nil if it sets none.
func consoleLevel() *int {
	if level, ok := consoleLevels[getenv("TIDINGS_CONSOLE_LOG")]; ok {
		return &level
	}
	return nil
}

// consoleLevels are the values of TIDINGS_CONSOLE_LOG.
var consoleLevels = map[string]int{"off": levelOff, "debug": levelDebug, "info": levelInfo, "warn": levelWarn, "error": levelError}

// levels returns from which level on lines go to the console, to the file and to the callback. The console's is the file's unless the environment
// sets it.
func (g *config) levels() (console, file, callback int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	file = int(g.set.GetLogLevel())
	if g.set.GetIsLogOutputConsole() {
		console = file
		if g.console != nil {
			console = *g.console
		}
	}
	return console, file, int(g.set.GetCallbackLogLevel())
}

func setConfig(c *call) int {
	in := &im.SetConfig{}
	if err := c.parse(in); err != nil {
		return c.unreadable(err)
	}
	g := &c.lib.config
	json, err := g.change(in)
	c.lib.mu.RLock()
	defer c.lib.mu.RUnlock()
	c.answer(err, json)
	return resultOK
}

// change applies the settings in in, and returns all settings.
func (g *config) change(in *im.SetConfig) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, l := range []struct {
		key string
		is  *int32
	}{{"set_config_log_level", in.LogLevel}, {"set_config_callback_log_level", in.CallbackLogLevel}} {
		if l.is != nil && (*l.is < levelOff || *l.is > levelMost) {
			return "", im.Errorf(im.CodeInvalidParameters, "%s is %d, and should be %d to %d", l.key, *l.is, levelOff, levelMost)
		}
	}
	if len(in.GetUserDefineData()) > userDefinedMost {
		return "", im.Errorf(im.CodeInvalidParameters, "set_config_user_define_data has %d bytes, more than %d", len(in.GetUserDefineData()), userDefinedMost)
	}
	set := g.set
	change(&set.LogLevel, in.LogLevel)
	change(&set.CallbackLogLevel, in.CallbackLogLevel)
	change(&set.IsLogOutputConsole, in.IsLogOutputConsole)
	change(&set.UserConfig, in.UserConfig)
	change(&set.UserDefineData, in.UserDefineData)
	change(&set.HttpProxyInfo, in.HttpProxyInfo)
	change(&set.Socks5ProxyInfo, in.Socks5ProxyInfo)
	change(&set.IsOnlyLocalDnsSource, in.IsOnlyLocalDnsSource)
	return im.ToJSON(set), nil
}

func change[T any](to **T, from *T) {
	if from != nil {
		*to = from
	}
}

// proxy returns the proxy for the connection, or "": the SOCKS5 one if there are two.
func (g *config) proxy() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.set.Socks5ProxyInfo; p.GetIp() != "" && p.Port != 0 {
		return proxyURL("socks5", p.Ip, int(p.Port), p.UserName, p.Password)
	}
	if p := g.set.HttpProxyInfo; p.GetIp() != "" && p.Port != 0 {
		return proxyURL("http", p.Ip, int(p.Port), p.UserName, p.Password)
	}
	return ""
}

func proxyURL(scheme, host string, port int, user, password string) string {
	u := url.URL{Scheme: scheme, Host: net.JoinHostPort(host, strconv.Itoa(port))}
	if user != "" {
		u.User = url.UserPassword(user, password)
	}
	return u.String()
}

// server returns the server's address: set by the application, by the environment, or the default.
func (l *library) server() string {
	l.config.mu.Lock()
	defer l.config.mu.Unlock()
	if l.config.server != "" {
		return l.config.server
	}
	if s := getenv("TIDINGS_SERVER"); s != "" {
		return s
	}
	return client.DefaultServer
}
