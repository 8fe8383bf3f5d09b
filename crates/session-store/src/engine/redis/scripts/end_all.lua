-- Ends every session in a user's index but one; answers how many were live, and their ids among others that are dead.
-- KEYS: index, legacy list. ARGV: user, id to spare ('' = none), life of a tombstone in ms, key prefix.
local index, legacy = KEYS[1], KEYS[2]
local user, spared, tombstone_ms, key_prefix = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local entries = legacy_entries(legacy)
local ids = index_call(key_prefix, 'ZRANGE', index, 0, -1)
local listed, spared_expiry = {}, nil
for _, id in ipairs(ids) do listed[id] = true end
for _, entry in ipairs(entries or {}) do
  if not listed[entry.token] then ids[#ids + 1] = entry.token end
  listed[entry.token] = true
  if entry.token == spared then spared_expiry = entry.expiresAt end
end

-- A write that changes nothing. Once a script has written, a full memory refuses it nothing.
redis.call('ZREM', index, '')
local gone, live = {}, 0
for i, current in ipairs(records(key_prefix, ids)) do
  local id = ids[i]
  local owner = current and current ~= TOMBSTONE and owner_of(id, current)
  if id ~= spared and (not current or current == TOMBSTONE or owner == user) then
    if owner then
      redis.call('SET', key_prefix .. id, TOMBSTONE, 'PX', tombstone_ms)
      live = live + 1
    elseif not current then
      redis.call('SET', key_prefix .. id, TOMBSTONE, 'PX', tombstone_ms, 'NX')
    end
    gone[#gone + 1] = id
  end
end
unindex(key_prefix, index, gone)
if spared_expiry then
  redis.call('ZADD', index, 'GT', spared_expiry, spared)
  keep_index(index, spared_expiry - now_ms())
end
if entries then redis.call('DEL', legacy) end
return { live, gone }
