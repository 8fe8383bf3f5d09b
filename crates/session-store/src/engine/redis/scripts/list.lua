-- The ids in a user's index, each followed by its record.
-- KEYS: index, legacy list. ARGV: key prefix.
local index, legacy = KEYS[1], KEYS[2]
local key_prefix = ARGV[1]

fold(key_prefix, index, legacy)
local ids = index_call(key_prefix, 'ZRANGE', index, 0, -1)
local found = {}
for i, value in ipairs(records(key_prefix, ids)) do
  found[#found + 1] = ids[i]
  found[#found + 1] = value
end
return found
