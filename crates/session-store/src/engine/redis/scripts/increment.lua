-- Adds 1 to a counter; one that does not exist starts at 1 and gets the life.
-- KEYS: counter. ARGV: life in ms.
local counter = KEYS[1]

local count = redis.pcall('INCR', counter)
if type(count) == 'table' then
  if redis.call('GET', counter) ~= TOMBSTONE then return count end
  redis.call('DEL', counter)
  count = redis.call('INCR', counter)
end
-- A counter without a life would never let go of its client.
if redis.call('PTTL', counter) == -1 then redis.call('PEXPIRE', counter, ARGV[1]) end
return count
