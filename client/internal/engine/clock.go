package engine

import "time"

// Clock contains what the engine is to do at a time, each item under a name of its own.
type Clock struct{ alarms map[string]alarm }

type alarm struct {
	at time.Time
	do func()
}

// Set makes do run on the engine at a time, in place of what was set under this name before.
func (c *Clock) Set(name string, at time.Time, do func()) {
	if c.alarms == nil {
		c.alarms = map[string]alarm{}
	}
	c.alarms[name] = alarm{at, do}
}

// Stop removes what was set under these names.
func (c *Clock) Stop(names ...string) {
	for _, name := range names {
		delete(c.alarms, name)
	}
}

// Has reports whether something is set under a name and has not run.
func (c *Clock) Has(name string) bool {
	_, ok := c.alarms[name]
	return ok
}

// due removes and returns the first item whose time has come; nil if there is none.
func (c *Clock) due(now time.Time) func() {
	name, at := c.first()
	if name == "" || now.Before(at) {
		return nil
	}
	do := c.alarms[name].do
	delete(c.alarms, name)
	return do
}

// first returns the next item.
func (c *Clock) first() (name string, at time.Time) {
	for n, a := range c.alarms {
		if name == "" || a.at.Before(at) {
			name, at = n, a.at
		}
	}
	return name, at
}
