-- Ends a key: a session record or nothing becomes a tombstone; another application's record is left alone; any other value is deleted. end_only.lua and end_told.lua go on
-- where this ends.
-- KEYS: record. ARGV: id, life of the tombstone in ms, '1' to answer what lay there, ...
local record = KEYS[1]
local id, tombstone_ms, answer = ARGV[1], ARGV[2], ARGV[3]

local current = redis.call('GET', record)
if current == TOMBSTONE then return false end
local owner = current and owner_of(id, current)
if current and not owner and is_of_another(id, current) then return false end
-- DEL before SET: once a script has deleted, a full memory refuses it nothing.
redis.call('DEL', record)
if owner or not current then redis.call('SET', record, TOMBSTONE, 'PX', tombstone_ms) end
