-- Ends every session in a user's index but one; answers how many were live.
-- KEYS: index, legacy list. ARGV: user, id to spare ('' = none), life of a tombstone in ms, key prefix.
local index, legacy = KEYS[1], KEYS[2]
local user, spared, tombstone_ms, key_prefix = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local entries = legacy_entries(legacy)
local ids = index_call(key_prefix, 'ZRANGE', index, 0, -1)
local spared_expiry
for _, entry in ipairs(entries or {}) do
  ids[#ids + 1] = entry.token
  if entry.token == spared then spared_expiry = entry.expiresAt end
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
unindex(key_prefix, index, gone)
if spared_expiry then
  redis.call('ZADD', index, 'GT', spared_expiry, spared)
  keep_index(index, spared_expiry - now_ms())
end
if entries then redis.call('DEL', legacy) end
return live
