package main

/*
#include "shim.h"
*/
import "C"

import (
	"cmp"
	"runtime"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

func initialize(c *call) int {
	if c.num(0) == 0 {
		return c.refuse(resultParam, "the app id is 0")
	}
	cfg := &im.SdkConfig{}
	if c.text[0] != "" {
		if err := c.parse(cfg); err != nil {
			return c.unreadable(err)
		}
	}
	l := c.lib
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session == nil {
		l.session = &session{app: uint64(c.num(0)), dir: deviceFolder(cfg.ConfigFilePath)}
		l.threads.current(l)
		l.config.mu.Lock()
		l.config.console = consoleLevel()
		l.config.mu.Unlock()
		if err := l.log.file.open(deviceFolder(cfg.LogFilePath)); err != nil {
			l.log.Warn("there is no log file", "sdk_config_log_file_path", cfg.LogFilePath, "error", err)
		}
		l.log.Info("initialized", "version", client.Version, "app", uint64(c.num(0)), "folder", cmp.Or(l.session.dir, client.DefaultDir()), "log_folder", cmp.Or(deviceFolder(cfg.LogFilePath), "none"))
	}
	return resultOK
}

// deviceFolder returns the client's folder for a configured path; "/" is what programs pass that have none.
func deviceFolder(path string) string {
	if path == "/" {
		return ""
	}
	return path
}

func uninitialize(c *call) int {
	l := c.lib
	inCallback := c.args.thread != 0
	l.mu.Lock()
	s := l.session
	if s == nil {
		ending := l.ending
		l.mu.Unlock()
		if ending != nil && !inCallback {
			<-ending // another thread is ending it, 5 s at most
		}
		return resultOK
	}
	l.log.Info("uninitialized")
	l.session = nil
	t := l.threads.take()
	ending := make(chan struct{})
	l.ending = ending
	l.mu.Unlock()
	defer close(ending)
	defer l.log.file.open("")

	timer := time.NewTimer(uninitWait)
	defer timer.Stop()
	if s.client != nil {
		s.client.Close()
	}
	if t != nil {
		t.disp.Close()
	}
	l.slots.clear()             // not before no event begins any more: one without a callback is told to nobody, and counts as told
	if t == nil || inCallback { // in a callback, the thread answers what is open when that has returned, and ends
		return resultOK
	}
	select {
	case <-t.gone:
	case <-timer.C:
		t.giveUp()
	}
	return resultOK
}

func serverTime(c *call) int {
	c.lib.mu.RLock()
	defer c.lib.mu.RUnlock()
	if s := c.lib.session; s != nil && s.client != nil {
		return int(s.client.ServerTime().Unix())
	}
	return int(time.Now().Unix())
}

func loginStatus(c *call) int {
	c.lib.mu.RLock()
	defer c.lib.mu.RUnlock()
	return int(c.lib.status())
}

func loginUserID(c *call) int {
	if c.args.out == nil {
		return resultParam
	}
	c.lib.mu.RLock()
	defer c.lib.mu.RUnlock()
	user := ""
	if c.lib.status() == client.LoggedIn {
		user = c.lib.session.client.UserID()
	}
	c.fill(user)
	return resultOK
}

func login(c *call) int {
	user, ticket := c.text[0], c.text[1]
	l := c.lib
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.session
	if s == nil {
		c.answer(c.needs(false), "")
		return resultOK
	}
	switch l.status() {
	case client.LoggingIn:
		c.answer(&im.Error{Code: im.CodeLoginRunning, Desc: "a login is running"}, "")
		return resultOK
	case client.LoggingOut:
		c.answer(&im.Error{Code: im.CodeLogoutRunning, Desc: "a logout is running"}, "")
		return resultOK
	case client.LoggedIn:
		var err error
		if s.client.UserID() != user {
			err = im.Errorf(im.CodeInvalidParameters, "%s is logged in: log out first", s.client.UserID())
		}
		c.answer(err, "")
		return resultOK
	}
	t := l.threads.current(l)
	cfg := client.Config{Server: l.server(), UserID: user, UserSig: ticket, AppID: s.app, Dir: s.dir, Platform: l.platform(), Proxy: l.config.proxy(), Log: l.log.Logger, Dispatcher: t.disp}
	same := s.cfg
	same.UserSig = ticket
	if s.client != nil && same == cfg { // only the ticket is new, if anything: the last one may have expired
		s.client.SetUserSig(ticket)
		s.cfg = cfg
	} else {
		if s.client != nil {
			s.client.Close()
			s.client = nil
		}
		opened, err := client.Open(cfg, l.events(t))
		if err != nil {
			c.answer(err, "")
			return resultOK
		}
		s.client, s.cfg = opened, cfg
	}
	done := c.done()
	s.loggingIn.Store(true)
	s.client.LoginFunc(func(err error) {
		s.loggingIn.Store(false)
		done(err)
	})
	return resultOK
}

func logout(c *call) int {
	l := c.lib
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := c.needs(false); err != nil {
		c.answer(err, "")
		return resultOK
	}
	s := l.session
	switch l.status() {
	case client.LoggedOut:
		c.answer(&im.Error{Code: im.CodeNotLoggedIn, Desc: "not login"}, "")
		return resultOK
	case client.LoggingOut:
		c.answer(&im.Error{Code: im.CodeLogoutRunning, Desc: "a logout is running"}, "")
		return resultOK
	}
	done := c.done()
	s.loggingOut.Store(true)
	s.client.LogoutFunc(func(err error) {
		s.loggingOut.Store(false)
		done(err)
	})
	return resultOK
}

// platforms are the values of TIDINGS_PLATFORM.
var platforms = map[string]im.Platform{
	"windows": im.Platform_PLATFORM_WINDOWS, "mac": im.Platform_PLATFORM_MAC, "linux": im.Platform_PLATFORM_LINUX, "android": im.Platform_PLATFORM_ANDROID,
	"ios": im.Platform_PLATFORM_IOS, "pad": im.Platform_PLATFORM_PAD, "web": im.Platform_PLATFORM_WEB,
}

// platform returns the one of TIDINGS_PLATFORM, or the build's.
func (l *library) platform() im.Platform {
	own := runtime.GOOS
	if own == "darwin" {
		own = "mac"
	}
	if name := getenv("TIDINGS_PLATFORM"); name != "" {
		if p, ok := platforms[name]; ok {
			return p
		}
		l.log.Warn("TIDINGS_PLATFORM is unknown and not used: it may be windows, mac, linux, android, ios, pad or web", "TIDINGS_PLATFORM", name, "platform", own)
	}
	return platforms[own]
}

func getenv(name string) string {
	return C.GoString(C.tidings_getenv(cString(name)))
}
