-- Makes sure by a tombstone that a session which was absent stays so. KEYS: record. ARGV: life of the tombstone in ms.
-- Answers 1 when it is dead.
local current = redis.call('GET', KEYS[1])
if current then return is_tombstone(current) and 1 or 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], TOMBSTONE, 'PX', ARGV[1])
return 1
