-- Enters a session in its owner's index. A full memory refuses the first of its writes: then
-- nothing has been written. Answers the ids in the index for the limit, if they are asked for and
-- the entry is new: two sign-ins that saw each other would each end the other.
--
-- KEYS[1]  index
--
-- ARGV[1]  id
-- ARGV[2]  ttl          life of its record, in ms
-- ARGV[3]  '1' to answer the ids
-- ARGV[4]  expires_at   the record's own expiry, in ms since the epoch ('': none)

--- @include "clock"
--- @include "digits"
--- @include "drop_past_entries"
--- @include "index_life"
--- @include "score"

local index, id, ttl = KEYS[1], ARGV[1], tonumber(ARGV[2])

local now = now_ms()
local is_new = redis.call('ZADD', index, 'GT', score_of(now, ttl, ARGV[4]), id) == 1
keep_index(index, ttl)
drop_past_entries(index, now)
-- An id whose time is past is dead, even if it stays in the index for the margin.
return ARGV[3] == '1' and is_new and redis.call('ZRANGEBYSCORE', index, '(' .. digits(now), '+inf')
