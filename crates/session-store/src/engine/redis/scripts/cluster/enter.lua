-- Enters a session in its owner's index. A full memory refuses the first of its writes: then nothing has been written.
-- KEYS: index. ARGV: id, life of its record in ms, '1' to answer the ids for the limit.
local index, id, ttl = KEYS[1], ARGV[1], tonumber(ARGV[2])

local now = now_ms()
redis.call('ZADD', index, 'GT', digits(now + ttl), id)
keep_index(index, ttl)
redis.call('ZREMRANGEBYSCORE', index, '-inf', '(' .. digits(now - INDEX_MARGIN_MS))
-- An id whose time is past is dead, even if it stays in the index for the margin.
return ARGV[3] == '1' and redis.call('ZRANGEBYSCORE', index, '(' .. digits(now), '+inf')
