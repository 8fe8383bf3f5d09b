
-- Writes a session record that its owner's index has already.
-- KEYS: record. ARGV: `expected` and `create` of check.lua, the record, its life in ms.
local current = redis.call('GET', KEYS[1])
local why = refusal(current, ARGV[1], ARGV[2], now_ms())
if why then return why end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return { current and 'REPLACED' or 'CREATED' }
