-- Removes the index entries whose session is surely dead; answers how many, and the ids whose record is absent.
-- KEYS: index, legacy list. ARGV: key prefix, life of a tombstone in ms, then the ids to claim.
local index, legacy = KEYS[1], KEYS[2]
local key_prefix, tombstone_ms = ARGV[1], ARGV[2]
local claimed = {}
for i = 3, #ARGV do claimed[ARGV[i]] = true end

fold(key_prefix, index, legacy)
local past = '(' .. digits(now_ms() - INDEX_MARGIN_MS)
local removed = index_call(key_prefix, 'ZREMRANGEBYSCORE', index, '-inf', past)
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
unindex(key_prefix, index, gone)
return { removed + #gone, absent }
