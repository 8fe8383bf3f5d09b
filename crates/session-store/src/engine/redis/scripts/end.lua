-- Ends a key: a session record becomes a tombstone; another application's record is left alone; any other value is deleted. end_only.lua
-- and end_told.lua go on where this ends.
-- KEYS: record. ARGV: id, life of the tombstone in ms, 'end', 'delete' or 'take', ...
-- 'end': of a key that may be a session's, so nothing becomes a tombstone, too. 'take': answers what lay there.
local record = KEYS[1]
local id, tombstone_ms, how = ARGV[1], ARGV[2], ARGV[3]

local current = redis.call('GET', record)
if current == TOMBSTONE then return false end
local owner = current and owner_of(id, current)
if current and not owner and is_of_another(id, current) then return false end
-- DEL before SET: once a script has deleted, a full memory refuses it nothing.
redis.call('DEL', record)
if owner or not current and how == 'end' then redis.call('SET', record, TOMBSTONE, 'PX', tombstone_ms) end
