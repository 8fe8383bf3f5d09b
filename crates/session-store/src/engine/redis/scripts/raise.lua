-- Writes a number unless a greater one lies there; the life is never shortened. Answers the number that lies there now.
-- KEYS: key. ARGV: number, life in ms ('' = for ever).
local key, wanted, ttl = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])

local current = redis.call('GET', key)
local highest = math.max(wanted, current and tonumber(current) or wanted)
local left = redis.call('PTTL', key)
-- DEL before SET: once a script has deleted, a full memory refuses it nothing, and ending sessions must work then.
redis.call('DEL', key)
if not ttl or left == -1 then
  redis.call('SET', key, digits(highest))
else
  redis.call('SET', key, digits(highest), 'PX', math.max(left, ttl))
end
return digits(highest)
