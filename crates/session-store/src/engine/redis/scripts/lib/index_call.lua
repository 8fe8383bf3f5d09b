--- @include "clock"
--- @include "digits"
--- @include "index_life"

-- Calls a sorted-set command on a user's index. The guide's own code left a plain set as an index:
-- it is converted first.
local function index_call(key_prefix, command, index, ...)
  local reply = redis.pcall(command, index, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  if redis.call('TYPE', index).ok == 'set' then
    local ids, now, furthest = redis.call('SMEMBERS', index), now_ms(), 0
    redis.call('DEL', index)
    for _, id in ipairs(ids) do
      local ttl = redis.call('PTTL', key_prefix .. id)
      if ttl > 0 then
        redis.call('ZADD', index, digits(now + ttl), id)
        furthest = math.max(furthest, ttl)
      end
    end
    if furthest > 0 then keep_index(index, furthest) end
  end
  return redis.call(command, index, ...)
end
