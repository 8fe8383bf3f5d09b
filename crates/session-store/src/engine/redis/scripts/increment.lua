-- Adds 1 to a counter; one that does not exist starts at 1 and gets the life.
-- KEYS: counter. ARGV: life in ms.
local counter = KEYS[1]

if redis.call('GET', counter) == TOMBSTONE then redis.call('DEL', counter) end
local count = redis.call('INCR', counter)
-- A counter without a life would never let go of its client.
if redis.call('PTTL', counter) == -1 then redis.call('PEXPIRE', counter, ARGV[1]) end
return count
