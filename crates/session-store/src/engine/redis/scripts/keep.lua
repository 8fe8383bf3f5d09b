-- Lets a user's index outlive an entry that lives for `ttl` by the margin; never shortens its life. Answers whether it had none yet:
-- then it is new.
local function keep_index(index, ttl)
  local life = digits(ttl + INDEX_MARGIN_MS)
  -- From Redis 7 on (and in Valkey), the command itself tells a new one, and compares.
  if redis.REDIS_VERSION_NUM then
    if redis.call('PEXPIRE', index, life, 'NX') == 1 then return true end
    redis.call('PEXPIRE', index, life, 'GT')
    return false
  end
  local left = redis.call('PTTL', index)
  if left < ttl + INDEX_MARGIN_MS then redis.call('PEXPIRE', index, life) end
  return left < 0
end
