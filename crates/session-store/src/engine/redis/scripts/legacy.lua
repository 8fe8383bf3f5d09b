-- The JSON list that other stores keep for a user.

-- Its entries; nil when there is none.
local function legacy_entries(legacy)
  local list = redis.call('GET', legacy)
  if not list or list == TOMBSTONE then return nil end
  local ok, entries = pcall(cjson.decode, list)
  if not ok or type(entries) ~= 'table' then return nil end
  local found = {}
  for _, entry in ipairs(entries) do
    if type(entry) == 'table' and type(entry.token) == 'string' and type(entry.expiresAt) == 'number' then
      found[#found + 1] = entry
    end
  end
  return found
end

-- Folds it into the index.
local function fold(key_prefix, index, legacy)
  local entries = legacy_entries(legacy)
  if not entries then return end
  local furthest = 0
  for _, entry in ipairs(entries) do
    index_call(key_prefix, 'ZADD', index, 'GT', entry.expiresAt, entry.token)
    furthest = math.max(furthest, entry.expiresAt)
  end
  if furthest > 0 then keep_index(index, furthest - now_ms()) end
  redis.call('DEL', legacy)
end
