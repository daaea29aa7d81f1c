package pg

import "context"

// Look makes a reading for the horizon at once.
func (s *Store) Look(ctx context.Context) error { return s.look(ctx) }
