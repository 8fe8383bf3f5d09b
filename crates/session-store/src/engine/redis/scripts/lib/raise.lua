--- @include "digits"

-- Writes a number unless a greater one lies there. Never shortens the life (`ttl`, in ms; nil: for
-- ever). Returns the number that lies there now.
local function raise(key, number, ttl)
  local current = redis.call('GET', key)
  local highest = math.max(tonumber(number), current and tonumber(current) or tonumber(number))
  local left = redis.call('PTTL', key)
  -- DEL before SET: once a script has deleted, a full memory refuses it nothing, and ending
  -- sessions must work then.
  redis.call('DEL', key)
  if not ttl or left == -1 then
    redis.call('SET', key, digits(highest))
  else
    redis.call('SET', key, digits(highest), 'PX', digits(math.max(left, ttl)))
  end
  return digits(highest)
end
