-- Enters a session in its owner's index. A full memory refuses the first of its writes: then nothing has been written.
-- KEYS: index. ARGV: id, life of its record in ms, '1' to answer the ids for the limit, its own expiry in ms since the epoch ('' = none).
local index, id, ttl = KEYS[1], ARGV[1], tonumber(ARGV[2])

local now = now_ms()
local is_new = redis.call('ZADD', index, 'GT', score_of(now, ttl, ARGV[4]), id) == 1
keep_index(index, ttl)
drop_past(index, now)
-- An id whose time is past is dead, even if it stays in the index for the margin. Who enters again is told nothing: whoever came
-- between would see this one, and this one him, and each would end the other.
return ARGV[3] == '1' and is_new and redis.call('ZRANGEBYSCORE', index, '(' .. digits(now), '+inf')
