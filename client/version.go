package client

// Version is the SDK's version, told at login and by TIMGetSDKVersion.
const Version = "8.6.7021"
