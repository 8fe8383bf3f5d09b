-- Removes the index entries whose session is surely dead; answers how many, and the ids whose record is absent.
-- KEYS: index, legacy list. ARGV: key prefix, index margin in ms, life of a tombstone in ms, then the ids to claim.
local index, legacy = KEYS[1], KEYS[2]
local key_prefix, margin, tombstone_ms = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local claimed = {}
for i = 4, #ARGV do claimed[ARGV[i]] = true end

local now = now_ms()
fold(index, legacy, key_prefix, now, margin)
local removed = redis.call('ZREMRANGEBYSCORE', index, '-inf', '(' .. digits(now - margin))
local gone, absent = {}, {}
for _, id in ipairs(redis.call('ZRANGE', index, 0, -1)) do
  local record = key_prefix .. id
  local current = redis.call('GET', record)
  if current == TOMBSTONE then
    gone[#gone + 1] = id
  elseif not current then
    if claimed[id] then
      redis.call('SET', record, TOMBSTONE, 'PX', tombstone_ms)
      gone[#gone + 1] = id
    else
      absent[#absent + 1] = id
    end
  end
end
if #gone > 0 then unindex(index, gone) end
return { removed + #gone, absent }
