package client

import "strconv"

// name returns the name of an enum's value, or its number.
func name[E ~int32](names map[E]string, e E) string {
	if s, ok := names[e]; ok {
		return s
	}
	return strconv.Itoa(int(e))
}

var convEvents = map[ConvEvent]string{ConvAdd: "add", ConvDelete: "delete", ConvUpdate: "update", ConvSyncStart: "sync start", ConvSyncFinish: "sync finish"}

func (e ConvEvent) String() string { return name(convEvents, e) }

var networkStatuses = map[NetworkStatus]string{NetworkConnected: "connected", NetworkDisconnected: "disconnected", NetworkConnecting: "connecting",
	NetworkConnectFailed: "connect failed"}

func (s NetworkStatus) String() string { return name(networkStatuses, s) }

var loginStatuses = map[LoginStatus]string{LoggedIn: "logged in", LoggingIn: "logging in", LoggedOut: "logged out", LoggingOut: "logging out"}

func (s LoginStatus) String() string { return name(loginStatuses, s) }
