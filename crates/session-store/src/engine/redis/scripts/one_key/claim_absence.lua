-- Makes sure by a tombstone that a session which was absent stays so. Answers 1 when it is dead.
--
-- KEYS[1]  record
--
-- ARGV[1]  life of the tombstone, in ms

--- @include "tombstone"

local current = redis.call('GET', KEYS[1])
if current then return is_tombstone(current) and 1 or 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], TOMBSTONE, 'PX', ARGV[1])
return 1
