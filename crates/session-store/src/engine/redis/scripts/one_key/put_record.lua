-- Writes a session record that its owner's index has already.
--
-- KEYS[1]  record
--
-- ARGV[1]  expected    see lib/write_refusal.lua
-- ARGV[2]  create      see lib/write_refusal.lua
-- ARGV[3]  the record
-- ARGV[4]  its life, in ms

--- @include "clock"
--- @include "write_refusal"

local current = redis.call('GET', KEYS[1])
local refusal = write_refusal(current, ARGV[1], ARGV[2], now_ms())
if refusal then return refusal end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return { current and 'REPLACED' or 'CREATED' }
