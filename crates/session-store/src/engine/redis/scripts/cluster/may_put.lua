
-- Answers what a write would come to. KEYS: record. ARGV: `expected` and `create` of check.lua.
local current = redis.call('GET', KEYS[1])
return refusal(current, ARGV[1], ARGV[2], now_ms()) or { current and 'REPLACED' or 'CREATED' }
