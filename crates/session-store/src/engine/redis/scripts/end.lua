-- Ends a key: a session record becomes a tombstone; another application's record is left alone; any other value is deleted. end_only.lua
-- and end_told.lua go on where this ends. Answers { value } and does nothing when Rust has to decide whose it is.
-- KEYS: record. ARGV: id, life of the tombstone in ms, 'end', 'delete' or 'take', `read` and `owner` of owner.lua, ...
-- 'end': of a key that may be a session's, so nothing becomes a tombstone, too. 'take': answers what lay there.
local record = KEYS[1]
local id, tombstone_ms, how = ARGV[1], ARGV[2], ARGV[3]

local current = redis.call('GET', record)
if is_tombstone(current) then return false end
local owner
if current then
  owner = owner_of(id, current, ARGV[4], ARGV[5])
  if owner == false then return { current } end
  if not owner and is_of_another(id, current) then return false end
end
-- DEL before SET: once a script has deleted, a full memory refuses it nothing.
redis.call('DEL', record)
if owner or not current and how == 'end' then redis.call('SET', record, TOMBSTONE, 'PX', tombstone_ms) end
