-- Ends a session if it is this user's: see lib/end_if_owned.lua.
--
-- KEYS[1]  record
--
-- ARGV[1]  id
-- ARGV[2]  user
-- ARGV[3]  tombstone_ms    life of the tombstone, in ms

--- @include "end_if_owned"

return end_if_owned(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
