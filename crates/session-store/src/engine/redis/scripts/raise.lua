-- Writes a number unless a greater one lies there; the life is never shortened. Answers the number that lies there now.
-- KEYS: key. ARGV: number, life in ms ('' = for ever).
local key, wanted, ttl = KEYS[1], tonumber(ARGV[1]), ARGV[2]

local current = redis.call('GET', key)
local highest = math.max(wanted, current and tonumber(current) or wanted)
local left = redis.call('PTTL', key)
if ttl == '' or left == -1 then
  redis.call('SET', key, digits(highest))
else
  redis.call('SET', key, digits(highest), 'PX', digits(math.max(left, tonumber(ttl))))
end
return digits(highest)
