package engine

import "time"

// Clock holds what the engine is to do at a time, each thing by a name of its own.
type Clock struct{ alarms map[string]alarm }

type alarm struct {
	at time.Time
	do func()
}

// Set has do run on the engine at a time, in place of what was set by this name before.
func (c *Clock) Set(name string, at time.Time, do func()) {
	if c.alarms == nil {
		c.alarms = map[string]alarm{}
	}
	c.alarms[name] = alarm{at, do}
}

// Stop takes back what was set by these names.
func (c *Clock) Stop(names ...string) {
	for _, name := range names {
		delete(c.alarms, name)
	}
}

// Has says that something is set by a name and has not run.
func (c *Clock) Has(name string) bool {
	_, ok := c.alarms[name]
	return ok
}

// due takes out the first thing whose time has come; nil without one.
func (c *Clock) due(now time.Time) func() {
	name, at := c.first()
	if name == "" || now.Before(at) {
		return nil
	}
	do := c.alarms[name].do
	delete(c.alarms, name)
	return do
}

// first is the next thing to do.
func (c *Clock) first() (name string, at time.Time) {
	for n, a := range c.alarms {
		if name == "" || a.at.Before(at) {
			name, at = n, a.at
		}
	}
	return name, at
}
