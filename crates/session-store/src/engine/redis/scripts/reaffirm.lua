-- Writes the tombstone of an ended key once more, so that the server's answer to WAIT counts it; any other value is left alone.
-- A record that is back, because the primary that had ended it was lost, is ended again.
-- KEYS: record. ARGV: id, life of the tombstone in ms.
local record = KEYS[1]
local id, tombstone_ms = ARGV[1], ARGV[2]

local current = redis.call('GET', record)
if current and current ~= TOMBSTONE and not owner_of(id, current) then return 0 end
-- DEL before SET: once a script has deleted, a full memory refuses it nothing.
redis.call('DEL', record)
redis.call('SET', record, TOMBSTONE, 'PX', tombstone_ms)
return 1
