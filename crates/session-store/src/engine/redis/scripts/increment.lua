
-- Adds 1 to counters; one that does not exist starts at 1 and gets the life.
-- KEYS: the counters. ARGV: for each its life in ms.
return each(#KEYS, function(n)
  local counter, ttl = KEYS[n], ARGV[n]
  if redis.call('SET', counter, '1', 'PX', ttl, 'NX') then return 1 end
  local count = redis.pcall('INCR', counter)
  if type(count) == 'table' then
    if not is_tombstone(redis.call('GET', counter)) then return { 'ERROR', count.err } end
    redis.call('SET', counter, '1', 'PX', ttl)
    return 1
  end
  -- A counter without a life would never let go of its client.
  if redis.call('PTTL', counter) == -1 then redis.call('PEXPIRE', counter, ttl) end
  return count
end)
