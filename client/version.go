package client

// Version is the SDK's version, sent at login and returned by TIMGetSDKVersion.
const Version = "8.6.7021"
