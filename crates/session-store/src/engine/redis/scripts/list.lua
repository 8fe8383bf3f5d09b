-- The ids in a user's index whose record is there, each followed by its record.
-- KEYS: index, legacy list. ARGV: key prefix.
local index, legacy = KEYS[1], KEYS[2]
local key_prefix = ARGV[1]

fold(key_prefix, index, legacy)
local ids = index_call(key_prefix, 'ZRANGE', index, 0, -1)
local found = {}
for first = 1, #ids, 1000 do
  local keys = {}
  for i = first, math.min(first + 999, #ids) do keys[#keys + 1] = key_prefix .. ids[i] end
  for i, value in ipairs(redis.call('MGET', unpack(keys))) do
    if value and value ~= TOMBSTONE then
      found[#found + 1] = ids[first + i - 1]
      found[#found + 1] = value
    end
  end
end
return found
