-- Makes a sorted set of the plain set that the guide's own code left as an index.
--
-- KEYS[1]    index
--
-- ARGV[1]    life in ms of an id that was not asked for
-- ARGV[2..]  id and life in ms (-2: no record), by turns

--- @include "clock"
--- @include "digits"
--- @include "index_life"

local index, lives, furthest = KEYS[1], {}, 0

if redis.call('TYPE', index).ok ~= 'set' then return 0 end
for i = 2, #ARGV, 2 do lives[ARGV[i]] = tonumber(ARGV[i + 1]) end
local ids, now = redis.call('SMEMBERS', index), now_ms()
redis.call('DEL', index)
for _, id in ipairs(ids) do
  local ttl = lives[id] or tonumber(ARGV[1])
  if ttl > 0 then
    redis.call('ZADD', index, digits(now + ttl), id)
    furthest = math.max(furthest, ttl)
  end
end
if furthest > 0 then keep_index(index, furthest) end
return 1
