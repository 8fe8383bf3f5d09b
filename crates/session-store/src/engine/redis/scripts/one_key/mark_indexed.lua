-- Marks a record that another store wrote as indexed, if it still lies there as it was read.
--
-- KEYS[1]  record
--
-- ARGV[1]  the record as it was read
-- ARGV[2]  the record as it is to be stored

local ttl = redis.call('PTTL', KEYS[1])
if ttl > 0 and redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'PX', ttl) end
