-- Answers what a write of a session record would come to.
--
-- KEYS[1]  record
--
-- ARGV[1]  expected    see lib/write_refusal.lua
-- ARGV[2]  create      see lib/write_refusal.lua

--- @include "clock"
--- @include "write_refusal"

local current = redis.call('GET', KEYS[1])
return write_refusal(current, ARGV[1], ARGV[2], now_ms()) or { current and 'REPLACED' or 'CREATED' }
