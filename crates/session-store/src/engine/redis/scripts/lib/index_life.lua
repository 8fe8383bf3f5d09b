--- @include "digits"

-- Lets a user's index live for `life` ms at least. Never shortens its life. Returns whether it had
-- none yet: then it is new.
local function keep_index_for(index, life)
  -- From Redis 7 on (and in Valkey), the command itself tells a new one, and compares.
  if redis.REDIS_VERSION_NUM then
    if redis.call('PEXPIRE', index, life, 'NX') == 1 then return true end
    redis.call('PEXPIRE', index, life, 'GT')
    return false
  end
  local left = redis.call('PTTL', index)
  if left < tonumber(life) then redis.call('PEXPIRE', index, life) end
  return left < 0
end

-- Lets a user's index outlive an entry that lives for `ttl` ms by the margin.
local function keep_index(index, ttl)
  return keep_index_for(index, digits(ttl + INDEX_MARGIN_MS))
end
