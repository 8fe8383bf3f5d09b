-- Adds 1 to counters. One that does not exist starts at 1 and gets the life. Answers each counter's
-- new value, or { 'ERROR', … } (lib/each.lua).
--
-- For each caller:
-- KEYS[1..]  counter
-- ARGV[1..]  its life, in ms

--- @include "each"
--- @include "tombstone"

return each(#KEYS, function(n)
  local counter, ttl = KEYS[n], ARGV[n]
  if redis.call('SET', counter, '1', 'PX', ttl, 'NX') then return 1 end
  local count = redis.pcall('INCR', counter)
  if type(count) == 'table' then
    if not is_tombstone(redis.call('GET', counter)) then return { 'ERROR', count.err } end
    redis.call('SET', counter, '1', 'PX', ttl)
    return 1
  end
  -- A counter without a life would block its client for ever.
  if redis.call('PTTL', counter) == -1 then redis.call('PEXPIRE', counter, ttl) end
  return count
end)
