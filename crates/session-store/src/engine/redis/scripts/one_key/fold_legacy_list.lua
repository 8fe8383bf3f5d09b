-- Enters some sessions of a legacy list in the user's index.
--
-- KEYS[1]    index
--
-- ARGV[1..]  expiry in ms since the epoch and id, by turns

--- @include "clock"
--- @include "index_life"

local index, furthest = KEYS[1], 0

-- A write that changes nothing. Once a script has written, a full memory refuses it nothing: ending
-- all of a user's sessions folds first.
redis.call('ZREM', index, '')
for i = 1, #ARGV, 2 do
  redis.call('ZADD', index, 'GT', ARGV[i], ARGV[i + 1])
  furthest = math.max(furthest, tonumber(ARGV[i]))
end
if furthest > 0 then keep_index(index, furthest - now_ms()) end
