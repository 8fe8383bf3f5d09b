-- Ends every session in a user's index but one; answers how many were live.
-- KEYS: index, legacy list. ARGV: user, id to spare ('' = none), life of a tombstone in ms, key prefix, index margin in ms.
local index, legacy = KEYS[1], KEYS[2]
local user, spared, tombstone_ms, key_prefix, margin = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])

local entries = legacy_entries(legacy)
local plain = is_plain_set(index)
local ids = plain and redis.call('SMEMBERS', index) or redis.call('ZRANGE', index, 0, -1)
local legacy_expiry = {}
for _, entry in ipairs(entries or {}) do
  ids[#ids + 1] = entry.token
  legacy_expiry[entry.token] = entry.expiresAt
end

local gone, live = {}, 0
for _, id in ipairs(ids) do
  if id ~= spared then
    local record = key_prefix .. id
    local current = redis.call('GET', record)
    local owner = current and owner_of(id, current)
    if not current or owner == user then
      redis.call('DEL', record)
      redis.call('SET', record, TOMBSTONE, 'PX', tombstone_ms)
    end
    if owner == user then live = live + 1 end
    if not current or owner == user or current == TOMBSTONE then gone[#gone + 1] = id end
  end
end
if #gone > 0 then unindex(index, gone) end
if entries then
  local expiry = legacy_expiry[spared]
  if expiry and not plain then
    redis.call('ZADD', index, 'GT', digits(expiry), spared)
    keep_index(index, now_ms(), margin)
  end
  redis.call('DEL', legacy)
end
return live
