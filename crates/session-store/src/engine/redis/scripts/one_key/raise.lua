-- Raises a number: see lib/raise.lua.
--
-- KEYS[1]  key
--
-- ARGV[1]  number
-- ARGV[2]  life in ms ('': for ever)

--- @include "raise"

return raise(KEYS[1], ARGV[1], tonumber(ARGV[2]))
