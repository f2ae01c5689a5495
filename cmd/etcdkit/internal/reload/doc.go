// Package reload keeps a command up to date with what it depends on: it runs the command again, sends it a signal, or
// restarts it, when something has changed.
//
//	pause, err := reload.ParsePause("200ms:2s") // changes that come close together are one
//	k, err := reload.Keep(reload.Policy{…}, command) // a command that runs on
//	err = k.Changed()                          // restarts it, or sends it the signal
//
// What has changed, and what the command learns of it, is its caller's to say.
package reload
