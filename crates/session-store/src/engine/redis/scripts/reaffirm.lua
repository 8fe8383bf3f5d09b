-- Writes the tombstone of an ended key once more, so that the server's answer to WAIT counts it; any other value is left alone.
-- A record that is back, because the primary that had ended it was lost, is ended again. Answers the value and does nothing when Rust has to
-- decide whose it is.
-- KEYS: record. ARGV: id, life of the tombstone in ms, `read` and `owner` of owner.lua.
local record = KEYS[1]
local id, tombstone_ms = ARGV[1], ARGV[2]

local current = redis.call('GET', record)
if current and not is_tombstone(current) then
  local owner = owner_of(id, current, ARGV[3], ARGV[4])
  if owner == false then return current end
  if not owner then return 0 end
end
-- DEL before SET: once a script has deleted, a full memory refuses it nothing.
redis.call('DEL', record)
redis.call('SET', record, TOMBSTONE, 'PX', tombstone_ms)
return 1
